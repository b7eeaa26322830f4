package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Difference is one thing in which a pod that is made again is not the one that
// runs.
type Difference struct {
	Component Component
	// Field is ExtraArgs, ExtraEnvs or ExtraVolumes for what kubeadm-config has
	// a place for, "" for the rest.
	Field string
	// Name is the flag, the variable or the volume, or a path in the manifest.
	Name string
	// Live is what runs, Made what would be made, for people: "" for nothing, and
	// no secrets.
	Live, Made string
	// Own: what runs there is the node's own, and none for others.
	Own bool
	// Slight: it is no difference in what the pod does.
	Slight bool

	values []string       // of a flag that runs
	env    *corev1.EnvVar // a variable that runs
	volume *Volume        // a mount that runs, where kubeadm can say it
	secret bool
	alike  bool // what would be made is what runs, letter by letter
}

// What names it for people.
func (d Difference) What() string {
	switch d.Field {
	case ExtraArgs:
		return "--" + d.Name
	case ExtraEnvs:
		return "variable " + d.Name
	case ExtraVolumes:
		return "volume " + d.Name
	}
	return d.Name
}

func (d Difference) String() string {
	show := func(v string) string {
		if v == "" {
			return "not there"
		}
		if d.Field == ExtraArgs {
			return v
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%s is %s and not %s", d.What(), show(d.Made), show(d.Live))
}

// Writable says that kubeadm-config may be given what runs: it has a place for
// it, it is no node's own, and can be no secret. A ConfigMap is no place for a secret:
// every node and every holder of a bootstrap token may read kubeadm-config
// (kubeadm: phases/uploadconfig, NodesKubeadmConfigClusterRoleName).
func (d Difference) Writable() bool {
	return !d.Own && !d.secret && (d.values != nil || d.env != nil || d.volume != nil)
}

// Secret says that what runs holds a secret, or may hold one.
func (d Difference) Secret() bool { return d.secret }

// Alike says that what would be made is, letter by letter, what runs: a
// difference only where each node needs a value of its own.
func (d Difference) Alike() bool { return d.alike }

// Edit is its place in kubeadm-config.
func (d Difference) Edit() Edit { return Edit{d.Component, d.Field, d.Name} }

// WriteTo gives kubeadm-config what runs. ErrNotExpressible says that its
// version has no place for it.
func (d Difference) WriteTo(cc ClusterConfiguration) error {
	switch {
	case d.env != nil:
		return cc.SetExtraEnv(d.Component, *d.env)
	case d.volume != nil:
		return cc.SetExtraVolume(d.Component, *d.volume)
	case d.values != nil:
		return cc.SetExtraArg(d.Component, d.Name, d.values)
	}
	return ErrNotExpressible
}

// Sides are two pods of one component with the nodes that they are for.
type Sides struct {
	Component Component
	Live      Manifest // what runs on the first node
	LiveOwn   Own
	Made      Manifest // what another node has, or would get
	MadeOwn   Own
	// WithoutEtcd leaves out how etcd is reached: it is about to be changed.
	WithoutEtcd bool
}

// Compare lists the differences: flags first, then variables, volumes, and the
// rest of the pod.
func (s Sides) Compare() ([]Difference, error) {
	live, made := s.Live.pod.DeepCopy(), s.Made.pod.DeepCopy()
	withoutFound(live)
	withoutFound(made)
	out := s.flags(live, made)
	out = append(out, s.envs(live, made)...)
	out = append(out, s.volumes(live, made)...)
	rest, err := s.rest(live, made)
	return append(out, rest...), err
}

// etcdFlags are how an API server reaches etcd.
var etcdFlags = []string{"etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile"}

func (s Sides) flags(live, made *corev1.Pod) []Difference {
	if len(live.Spec.Containers) == 0 || len(made.Spec.Containers) == 0 {
		return nil
	}
	return s.CompareFlags(commandFlags(live.Spec.Containers[0]), commandFlags(made.Spec.Containers[0]))
}

func commandFlags(c corev1.Container) Flags {
	return ParseFlags(append(slices.Clone(c.Command), c.Args...))
}

// CompareFlags compares the flags of two processes, or of two manifests.
func (s Sides) CompareFlags(live, made Flags) []Difference {
	var out []Difference
	for _, name := range append(live, made...).Names() {
		if s.WithoutEtcd && slices.Contains(etcdFlags, name) {
			continue
		}
		a, b := live.All(name), made.All(name)
		if s.sameValues(name, a, b) {
			continue
		}
		d := Difference{Component: s.Component, Field: ExtraArgs, Name: name, values: a, Live: showValues(name, a), Made: showValues(name, b), alike: slices.Equal(a, b)}
		for _, v := range a {
			d.Own = d.Own || s.LiveOwn.FlagHolds(Flag{name, v}) || !slices.Contains(sharedValues, name) && s.LiveOwn.In(v) && !slices.Contains(b, v)
			d.secret = d.secret || Secret(name, v)
		}
		out = append(out, d)
	}
	return out
}

func (s Sides) sameValues(name string, a, b []string) bool {
	if name == "etcd-servers" { // the order of the members means nothing
		return strings.Join(sorted(a), ",") == strings.Join(sorted(b), ",")
	}
	if slices.Contains(addsUp, name) {
		a, b = nonEmpty(strings.Join(a, ",")), nonEmpty(strings.Join(b, ","))
	}
	return slices.EqualFunc(a, b, func(x, y string) bool {
		if s.LiveOwn != s.MadeOwn && s.LiveOwn.FlagHolds(Flag{name, y}) {
			return false // the first node's address is none for another
		}
		return x == y || s.LiveOwn.markFlag(Flag{name, x}, ownMark, ownMark) == s.MadeOwn.markFlag(Flag{name, y}, ownMark, ownMark)
	})
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func sorted(list []string) []string {
	out := strings.Split(strings.Join(list, ","), ",")
	slices.Sort(out)
	return out
}

func showValues(name string, values []string) string {
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprintf("%q", ShownValue(name, v)))
	}
	return strings.Join(out, " and ")
}

func (s Sides) envs(live, made *corev1.Pod) []Difference {
	a, b := map[string]corev1.EnvVar{}, map[string]corev1.EnvVar{}
	for _, e := range live.Spec.Containers[0].Env {
		a[e.Name] = e
	}
	for _, e := range made.Spec.Containers[0].Env {
		b[e.Name] = e
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, isLive := a[name]
		y, isMade := b[name]
		if isLive == isMade && same(text(x), text(y), Own{}, Own{}) ||
			isLive && isMade && x.ValueFrom == nil && y.ValueFrom == nil && same(x.Value, y.Value, s.LiveOwn, s.MadeOwn) {
			continue
		}
		d := Difference{Component: s.Component, Field: ExtraEnvs, Name: name, alike: isLive && isMade && text(x) == text(y)}
		if isLive {
			d.env, d.Live = &x, shownEnv(x)
			d.Own, d.secret = !proxyException(name) && s.LiveOwn.In(x.Value), !s.LiveOwn.HarmlessVariable(name, x.Value)
		}
		if isMade {
			d.Made = shownEnv(y)
		}
		out = append(out, d)
	}
	return out
}

// shownEnv shows no value of a variable: any of them may be a secret.
func shownEnv(e corev1.EnvVar) string {
	if e.ValueFrom != nil {
		return "from " + text(e.ValueFrom)
	}
	return hidden
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// volumeOf is a volume of the pod with its mount, where kubeadm can say it: a
// path of the host, mounted once, in the first container; with all that the pod
// says of it.
func volumeOf(pod *corev1.Pod, name string) (volume *Volume, says string) {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	var mounts []corev1.VolumeMount
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		if m.Name == name {
			mounts = append(mounts, m)
		}
	}
	if i < 0 && len(mounts) == 0 {
		return nil, ""
	}
	if i < 0 {
		return nil, text(mounts)
	}
	v := pod.Spec.Volumes[i]
	if v.HostPath != nil && v.HostPath.Type == nil {
		v.HostPath.Type = new(corev1.HostPathType)
	}
	for k := range mounts {
		if r := mounts[k].RecursiveReadOnly; r != nil && *r == corev1.RecursiveReadOnlyDisabled {
			mounts[k].RecursiveReadOnly = nil
		}
	}
	says = text(v.VolumeSource) + text(mounts)
	if v.HostPath == nil || len(mounts) != 1 {
		return nil, says
	}
	simple := corev1.VolumeMount{Name: name, MountPath: mounts[0].MountPath, ReadOnly: mounts[0].ReadOnly}
	if text(simple) != text(mounts[0]) {
		return nil, says
	}
	volume = &Volume{Name: name, HostPath: path.Clean(v.HostPath.Path), MountPath: path.Clean(simple.MountPath), ReadOnly: simple.ReadOnly, PathType: string(*v.HostPath.Type)}
	how := "read and written"
	if volume.ReadOnly {
		how = "read only"
	}
	return volume, fmt.Sprintf("%s at %s, %s, type %q", volume.HostPath, volume.MountPath, how, volume.PathType)
}

func (s Sides) volumes(live, made *corev1.Pod) []Difference {
	names := map[string]bool{}
	for _, pod := range []*corev1.Pod{live, made} {
		for _, v := range pod.Spec.Volumes {
			names[v.Name] = true
		}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			names[m.Name] = true
		}
	}
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if s.WithoutEtcd && strings.HasPrefix(name, "etcd-certs-") {
			continue
		}
		a, saysA := volumeOf(live, name)
		b, saysB := volumeOf(made, name)
		if saysA == saysB || a != nil && b != nil && same(a.HostPath, b.HostPath, s.LiveOwn, s.MadeOwn) && same(a.MountPath, b.MountPath, s.LiveOwn, s.MadeOwn) &&
			a.ReadOnly == b.ReadOnly && a.PathType == b.PathType {
			continue
		}
		shown := s.shownVolume(live, name, saysA)
		out = append(out, Difference{Component: s.Component, Field: ExtraVolumes, Name: name, Live: shown, Made: s.shownVolume(made, name, saysB), volume: a, secret: shown != saysA,
			Own: a != nil && (s.LiveOwn.In(a.HostPath) || s.LiveOwn.In(a.MountPath))})
	}
	return out
}

// shownVolume is what a pod says of a volume, without what its driver is told
// where that may be a secret.
func (s Sides) shownVolume(pod *corev1.Pod, name, says string) string {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 || pod.Spec.Volumes[i].HostPath != nil {
		return says
	}
	var source any
	if err := json.Unmarshal([]byte(text(pod.Spec.Volumes[i].VolumeSource)), &source); err != nil {
		return hidden
	}
	v := s.veil(Own{}, hidden)
	source = mapStrings("spec.volumes["+name+"]", source, v.text)
	if !v.drawn {
		return says
	}
	return text(source)
}
