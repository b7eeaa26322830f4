package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases/overlap"

	"k8s.io/apimachinery/pkg/util/version"
)

// The Kubernetes minor versions whose ways this tool knows; 1.33 and 1.36 were
// seen.
const oldestMinor, newestMinor = 28, 36

// versions compares with the API server that runs.
func versions(ctx context.Context, s Scene) ([]Finding, error) {
	k, err := s.Kube(ctx)
	if err != nil {
		return nil, err
	}
	text, err := k.Version()
	if err != nil {
		return nil, err
	}
	api, err := version.ParseGeneric(text)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's version: %w", err)
	}
	var out []Finding
	if m := api.Minor(); m < oldestMinor || m > newestMinor {
		out = append(out, warn(fmt.Sprintf("practise on a playground of that version first; 1.%d to 1.%d are known", oldestMinor, newestMinor), "Kubernetes is %s", text))
	}
	for _, f := range s.Answered(migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.Workers) {
		if f.role != migrate.Workers {
			out = append(out, checkKubeadm(f, api)...)
		}
		out = append(out, checkKubelet(f, api)...)
	}
	if len(out) == 0 {
		out = append(out, fine("Kubernetes is %s, and the kubelets and kubeadm go with it", text))
	}
	return out, nil
}

// checkKubeadm: to join, kubeadm must have the cluster's minor version; to
// sign, one more will do (kubernetes.io: version skew policy).
func checkKubeadm(f *Facts, api *version.Version) []Finding {
	have, err := version.ParseGeneric(f.Kubeadm)
	phases, most := []int{1, 2, 3}, api.Minor()+1
	if f.role == migrate.JoiningControlPlanes {
		phases, most = []int{3}, api.Minor()
	}
	switch {
	case f.Kubeadm == "":
		return []Finding{block("", "kubeadm is not installed").on(f.host).only(phases...)}
	case err != nil:
		return []Finding{warn("look with `kubeadm version`", "kubeadm says that its version is %q", f.Kubeadm).on(f.host).only(phases...)}
	case have.Minor() < api.Minor() || have.Minor() > most:
		return []Finding{block("", "kubeadm is %s and the cluster v%s", f.Kubeadm, api).on(f.host).only(phases...)}
	case have.Patch() != api.Patch() && f.role == migrate.JoiningControlPlanes:
		return []Finding{warn("", "kubeadm is %s and the cluster v%s: the node would have other images than the first", f.Kubeadm, api).on(f.host).only(3)}
	}
	return nil
}

// checkKubelet: never newer than the API server, and at most three minor
// versions older.
func checkKubelet(f *Facts, api *version.Version) []Finding {
	phases := []int{1, 2, 3}
	if f.role == migrate.JoiningControlPlanes {
		phases = []int{3}
	}
	have, err := version.ParseGeneric(f.Kubelet)
	switch {
	case f.Kubelet == "" && f.role == migrate.JoiningControlPlanes:
		return []Finding{block("", "the kubelet is not installed").on(f.host).only(phases...)}
	case f.Kubelet == "" || err != nil:
		return []Finding{warn("look with `kubelet --version`", "its kubelet does not tell its version").on(f.host).only(phases...)}
	case have.Minor() > api.Minor():
		return []Finding{block("", "its kubelet is %s, newer than the API server's v%s", f.Kubelet, api).on(f.host).only(phases...)}
	case have.Minor()+3 < api.Minor():
		return []Finding{block("", "its kubelet is %s, more than three minor versions older than the API server's v%s", f.Kubelet, api).on(f.host).only(phases...)}
	}
	return nil
}

// kubeadmPods are the static pods that kubeadm makes.
var kubeadmPods = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}

// readManifest reads one of them on the host that is looked at.
func readManifest(ctx context.Context, s Scene, name string) (kube.Manifest, bool, error) {
	file := path.Join(kube.ManifestsDir, name+".yaml")
	f, err := s.On(s.Target()).ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return kube.Manifest{}, false, nil
	}
	if err != nil {
		return kube.Manifest{}, false, err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return kube.Manifest{}, false, fmt.Errorf("%s: %w", file, err)
	}
	return m, true, nil
}

// strayManifests looks at what the kubelet would run (kubernetes:
// pkg/kubelet/config/file.go reads every name without a leading dot).
func strayManifests(ctx context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	var out []Finding
	for _, name := range f.Manifests {
		file := path.Join(kube.ManifestsDir, name)
		if file == overlap.ManifestPath || slices.Contains(kubeadmPods, strings.TrimSuffix(name, ".yaml")) {
			continue
		}
		pod := ""
		if data, err := s.On(s.Target()).ReadFile(ctx, file); err == nil {
			if m, err := kube.ParseManifest(data.Data); err == nil {
				pod = m.PodName()
			}
		}
		switch {
		case slices.Contains(kubeadmPods, pod):
			out = append(out, block("move it away, not to another name in that folder: `mv "+file+" $HOME/`", "%s is a second manifest of %s", file, pod))
		case pod == "":
			out = append(out, warn("`mv "+file+" $HOME/` if nobody needs it", "%s is no manifest of a pod", file))
		default:
			out = append(out, warn("nothing, if you know what it is for", "%s is a static pod of your own, %s", file, pod))
		}
	}
	if f.role == migrate.JoiningControlPlanes {
		left, err := leftOver(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, left...)
	}
	if len(out) == 0 {
		out = append(out, fine("%d manifests, all of kubeadm's", len(f.Manifests)))
	}
	return out, nil
}

// leftOver finds a control plane on a host that is no node of the cluster:
// kubeadm join refuses to go over it.
func leftOver(ctx context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	i := slices.IndexFunc(f.Manifests, func(n string) bool { return slices.Contains(kubeadmPods, strings.TrimSuffix(n, ".yaml")) })
	if i < 0 {
		return nil, nil
	}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	if _, joined := nodes[s.Target()]; joined {
		return nil, nil
	}
	return []Finding{block("`kubeadm reset` on it, if nobody needs what it was part of",
		"%s is there, and it is no node of this cluster", path.Join(kube.ManifestsDir, f.Manifests[i]))}, nil
}

// apiFlags are those of the API server that runs, or else of its manifest.
func apiFlags(ctx context.Context, s Scene) (kube.Flags, error) {
	p, running, err := s.APIServer(ctx, s.First().Name)
	if err != nil {
		return nil, err
	}
	if running {
		return p.Flags, nil
	}
	m, there, err := readManifest(ctx, s, kubeadmPods[0])
	if err == nil && !there {
		err = errors.New("no API server runs, and its manifest is not there")
	}
	if err != nil {
		return nil, err
	}
	return m.Flags(), nil
}

func egressSelector(ctx context.Context, s Scene) ([]Finding, error) {
	flags, err := apiFlags(ctx, s)
	if err != nil {
		return nil, err
	}
	if file, ok := flags.Get("egress-selector-config-file"); ok {
		return []Finding{warn("", "the API server runs with --egress-selector-config-file=%s", file)}, nil
	}
	return []Finding{fine("the API server connects to nodes directly")}, nil
}

func etcdServersOverrides(ctx context.Context, s Scene) ([]Finding, error) {
	flags, err := apiFlags(ctx, s)
	if err != nil {
		return nil, err
	}
	if list, ok := flags.Get("etcd-servers-overrides"); ok {
		return []Finding{block("", "the API server keeps some resources elsewhere: --etcd-servers-overrides=%s", list)}, nil
	}
	return []Finding{fine("the API server keeps all resources in one etcd")}, nil
}
