package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// joiningMark is the first line of the manifest with which the old member
// joins again.
const joiningMark = "# Written by migrate: with it the old etcd member joins the members on the etcd hosts\n" +
	"# again. The manifest of before takes its place when it holds all data.\n"

func isJoining(manifest []byte) bool { return bytes.HasPrefix(manifest, []byte(joiningMark)) }

// joiningManifest is the original with the initial cluster as it is now.
//
// Everything it listens on and is known by stays. It has no probes: the
// kubelet would restart a member that still receives its data, from the
// beginning, each time.
func joiningManifest(original []byte, initialCluster, peerURL string) ([]byte, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(original, &pod); err != nil {
		return nil, fmt.Errorf("reading the old member's manifest: %w", err)
	}
	if len(pod.Spec.Containers) != 1 {
		return nil, fmt.Errorf("reading the old member's manifest: it has %d containers; this tool copies manifests with one", len(pod.Spec.Containers))
	}
	c := &pod.Spec.Containers[0]
	words := append(slices.Clone(c.Command), c.Args...)
	if len(words) == 0 || path.Base(words[0]) != "etcd" {
		return nil, errors.New("reading the old member's manifest: its command does not begin with etcd")
	}
	set := kube.Flags{{Name: "initial-advertise-peer-urls", Value: peerURL}, {Name: "initial-cluster", Value: initialCluster}, {Name: "initial-cluster-state", Value: "existing"}}
	out := words[:1:1]
	for _, f := range kube.ParseFlags(words) {
		if _, replaced := set.Get(f.Name); !replaced && f.Name != "force-new-cluster" && !strings.HasPrefix(f.Name, "discovery") {
			out = append(out, "--"+f.Name+"="+f.Value)
		}
	}
	for _, f := range set {
		out = append(out, "--"+f.Name+"="+f.Value)
	}
	c.Command, c.Args = out, nil
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return ofBirth(e.Name) })
	c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = nil, nil, nil
	pod.Status = corev1.PodStatus{}
	text, err := yaml.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest with which the old member joins: %w", err)
	}
	return append([]byte(joiningMark), text...), nil
}

// ofBirth says whether a variable tells etcd how its cluster is founded.
func ofBirth(variable string) bool {
	name, ok := strings.CutPrefix(variable, "ETCD_")
	return ok && (name == "FORCE_NEW_CLUSTER" || strings.HasPrefix(name, "INITIAL_CLUSTER") || strings.HasPrefix(name, "DISCOVERY"))
}

// oldManifest is what the kubelet has for the old member.
func oldManifest(ctx context.Context, v phases.Reader) (remote.File, bool, error) {
	f, err := v.On(v.First().Name).ReadFile(ctx, phases.EtcdManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return remote.File{}, false, nil
	}
	return f, err == nil, err
}

const archivedManifest = phases.EtcdArchive + "/etcd.yaml"

// originalManifest is the one of before, from the archive or still in place.
func originalManifest(ctx context.Context, v phases.Reader) (remote.File, error) {
	f, there, err := oldManifest(ctx, v)
	if err != nil || there && !isJoining(f.Data) {
		return f, err
	}
	f, err = v.On(v.First().Name).ReadFile(ctx, archivedManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("the manifest of the old member is neither in the manifests folder of %s nor in %s: put a copy of it there", v.First().Name, archivedManifest)
	}
	return f, err
}

// wantedJoining is the manifest for the members as they are.
func wantedJoining(ctx context.Context, v phases.Reader, members []etcd.Member) (remote.File, error) {
	f, err := originalManifest(ctx, v)
	if err != nil {
		return remote.File{}, err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return remote.File{}, fmt.Errorf("on %s, %s: %w", v.First().Name, f.Path, err)
	}
	name, ok := m.Flags().Get("name")
	if !ok {
		return remote.File{}, fmt.Errorf("on %s, %s: it has no --name", v.First().Name, f.Path)
	}
	is, err := membership.InitialCluster(members, v.First(), name)
	if err != nil {
		return remote.File{}, err
	}
	f.Path = phases.EtcdManifest
	f.Data, err = joiningManifest(f.Data, is, membership.PeerURL(v.First()))
	return f, err
}

// joinsAlready says that the manifest with which it joins is in place and fits
// the members: what is in the data folder is then the new member's own.
func joinsAlready(ctx context.Context, v phases.Reader, members []etcd.Member) (bool, error) {
	f, there, err := oldManifest(ctx, v)
	if err != nil || !there || !isJoining(f.Data) {
		return false, err
	}
	if _, ok := membership.MemberOn(members, v.First()); !ok {
		return false, nil
	}
	want, err := wantedJoining(ctx, v, members)
	return bytes.Equal(want.Data, f.Data), err
}

// writeJoining starts it.
func writeJoining(ctx context.Context, h phases.Writer) error {
	members, _, err := membership.List(ctx, h.Reader)
	if err != nil {
		return err
	}
	f, err := wantedJoining(ctx, h.Reader, members)
	if err != nil {
		return err
	}
	return h.On(h.First().Name).WriteFile(ctx, f)
}

// clearOld makes sure that nothing of the removed member is where etcd looks
// for it. The manifest goes first, and the data only when the kubelet has let
// go of the pod: between two starts of a process that ends again and again, a
// start from the manifest of before on a folder that is just empty would found
// a cluster.
func clearOld(ctx context.Context, h phases.Writer) error {
	if err := putManifestAway(ctx, h); err != nil {
		return err
	}
	err := phases.Await(ctx, h.Reader, kubeletStarts, func(ctx context.Context) error { return oldPodGone(ctx, h.Reader) })
	if err != nil {
		return fmt.Errorf("waiting for the end of the old member's pod: %w", err)
	}
	return putDataAway(ctx, h)
}

// putManifestAway moves the old member's manifest to the archive; one made for
// joining is removed.
func putManifestAway(ctx context.Context, h phases.Writer) error {
	host := h.On(h.First().Name)
	f, there, err := oldManifest(ctx, h.Reader)
	if err != nil || !there {
		return err
	}
	archived, err := host.ReadFile(ctx, archivedManifest)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case isJoining(f.Data), err == nil && bytes.Equal(archived.Data, f.Data):
		return host.Remove(ctx, phases.EtcdManifest)
	case err == nil:
		return fmt.Errorf("%s and %s on %s differ: keep the one that is right, as the first of the two", phases.EtcdManifest, archivedManifest, h.First().Name)
	}
	if err := makeArchive(ctx, host); err != nil {
		return err
	}
	return host.Rename(ctx, phases.EtcdManifest, archivedManifest)
}

// oldPodGone wants no process of the old member, and none to come: the kubelet
// deletes the pod's mirror in the API when it has seen that the manifest is
// gone and has ended the pod (pkg/kubelet: HandlePodCleanups).
func oldPodGone(ctx context.Context, v phases.Reader) error {
	_, running, err := v.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if running {
		return fmt.Errorf("etcd still runs on %s", v.First().Name)
	}
	m, err := v.OldEtcdManifest(ctx)
	if err != nil {
		return err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	pods, err := k.Pods(ctx, m.Namespace(), "")
	if err != nil {
		return err
	}
	mirror := m.Name() + "-" + v.First().Name
	if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Name == mirror && p.Annotations[corev1.MirrorPodAnnotationKey] != "" }) {
		return fmt.Errorf("the kubelet on %s has not let go of pod %s", v.First().Name, mirror)
	}
	return nil
}

// originalBack puts the manifest of before in place, byte for byte, when the
// member runs and holds its data, and waits until it runs by it.
func originalBack(ctx context.Context, h phases.Writer) error {
	first := h.First().Name
	f, there, err := oldManifest(ctx, h.Reader)
	if err != nil {
		return err
	}
	host := h.On(first)
	if !there || isJoining(f.Data) {
		if err := oldCaughtUp(ctx, h.Reader); err != nil {
			return fmt.Errorf("the previous manifest stays in %s: %w", archivedManifest, err)
		}
		if f, err = originalManifest(ctx, h.Reader); err != nil {
			return err
		}
		f.Path = phases.EtcdManifest
		if err := host.WriteFile(ctx, f); err != nil {
			return err
		}
	}
	err = phases.Await(ctx, h.Reader, kubeletStarts, func(ctx context.Context) error { return oldCaughtUp(ctx, h.Reader) })
	if err != nil {
		return fmt.Errorf("waiting for the old member on %s with the previous manifest: %w", first, err)
	}
	return host.Remove(ctx, archivedManifest)
}

// oldRunsItsManifest compares the process with the manifest in place.
func oldRunsItsManifest(ctx context.Context, v phases.Reader) error {
	f, there, err := oldManifest(ctx, v)
	switch {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("there is no %s on %s", phases.EtcdManifest, v.First().Name)
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return fmt.Errorf("on %s, %s: %w", v.First().Name, f.Path, err)
	}
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running {
		// Lets go of the connection to the one that has ended.
		_, err := v.Etcd(ctx)
		return errors.Join(fmt.Errorf("etcd does not run on %s; the reason is there in /var/log/pods/%s_%s-*/", v.First().Name, m.Namespace(), m.Name()), err)
	}
	want := m.Flags()
	for _, name := range []string{"initial-cluster", "initial-cluster-state", "initial-advertise-peer-urls", listenPeers} {
		has, _ := old.Flags.Get(name)
		if is, _ := want.Get(name); has != is {
			return fmt.Errorf("etcd on %s runs with --%s=%s still, and not as its manifest says", v.First().Name, name, has)
		}
	}
	return nil
}
