package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// Difference is one thing in which a pod that is made anew is not the one that
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
// it, it is no node's own, and no secret. A ConfigMap is no place for a secret:
// every node and every holder of a bootstrap token may read kubeadm-config
// (kubeadm: phases/uploadconfig, NodesKubeadmConfigClusterRoleName).
func (d Difference) Writable() bool {
	return !d.Own && !d.secret && (d.values != nil || d.env != nil || d.volume != nil)
}

// Secret says that what runs holds a secret.
func (d Difference) Secret() bool { return d.secret }

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
		d := Difference{Component: s.Component, Field: ExtraArgs, Name: name, values: a, Live: showValues(name, a), Made: showValues(name, b)}
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
		return x == y || !slices.Contains(sharedValues, name) && same(x, y, s.LiveOwn, s.MadeOwn)
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
		d := Difference{Component: s.Component, Field: ExtraEnvs, Name: name}
		if isLive {
			d.env, d.Live = &x, shownEnv(x)
			d.Own, d.secret = s.LiveOwn.In(x.Value), Secret(name, x.Value)
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
// path of the host, mounted once, in the first container.
func volumeOf(pod *corev1.Pod, name string) (volume *Volume, shown string) {
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
	shown = text(v.VolumeSource) + text(mounts)
	if v.HostPath == nil || len(mounts) != 1 {
		return nil, shown
	}
	simple := corev1.VolumeMount{Name: name, MountPath: mounts[0].MountPath, ReadOnly: mounts[0].ReadOnly}
	if text(simple) != text(mounts[0]) {
		return nil, shown
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
		a, shownA := volumeOf(live, name)
		b, shownB := volumeOf(made, name)
		if shownA == shownB || a != nil && b != nil && same(a.HostPath, b.HostPath, s.LiveOwn, s.MadeOwn) && same(a.MountPath, b.MountPath, s.LiveOwn, s.MadeOwn) &&
			a.ReadOnly == b.ReadOnly && a.PathType == b.PathType {
			continue
		}
		out = append(out, Difference{Component: s.Component, Field: ExtraVolumes, Name: name, Live: shownA, Made: shownB, volume: a,
			Own: a != nil && (s.LiveOwn.In(a.HostPath) || s.LiveOwn.In(a.MountPath))})
	}
	return out
}

// rest compares what is left when flags, variables and volumes are taken out,
// leaf by leaf.
func (s Sides) rest(live, made *corev1.Pod) ([]Difference, error) {
	a, err := leaves(live, s.LiveOwn)
	if err != nil {
		return nil, err
	}
	b, err := leaves(made, s.MadeOwn)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	// Where a component listens on every address, it makes no difference which of
	// them the kubelet asks. kubeadm derives the one from --bind-address
	// (util/staticpod, getProbeAddress), and who edits a manifest does not.
	everywhere := listensEverywhere(commandFlags(live.Spec.Containers[0]))
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, y := a[name], b[name]
		if x.plain == y.plain || x.marked == y.marked {
			continue
		}
		d := Difference{Component: s.Component, Name: name, Live: x.plain, Made: y.plain}
		// kubeadm makes it of `timeouts`, which no ConfigMap keeps; it says only
		// how long the kubelet waits for the first answer.
		d.Slight = strings.HasSuffix(name, ".startupProbe.failureThreshold") ||
			strings.HasSuffix(name, ".httpGet.host") && everywhere && s.LiveOwn.reaches(x.plain) && s.MadeOwn.reaches(y.plain)
		if strings.Contains(name, ".env[") && !strings.HasSuffix(name, ".name") {
			d.Live, d.Made = hiddenIf(d.Live), hiddenIf(d.Made)
		}
		out = append(out, d)
	}
	return out, nil
}

func listensEverywhere(flags Flags) bool {
	bind, _ := flags.Get("bind-address")
	return bind == "" || net.ParseIP(bind).IsUnspecified()
}

// reaches says whether a probe at this host asks the node itself: "" is the
// pod's address, and these pods have the node's.
func (o Own) reaches(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip.IsLoopback() || o.has(host)
}

func hiddenIf(s string) string {
	if s == "" {
		return ""
	}
	return hidden
}

// leaves are the values of a pod by their path, with the elements of lists
// named by their names. What Compare looks at by itself is left out.
func leaves(pod *corev1.Pod, own Own) (map[string]leaf, error) {
	pod = pod.DeepCopy()
	pod.Status = corev1.PodStatus{}
	program := ""
	c := &pod.Spec.Containers[0]
	if words := append(slices.Clone(c.Command), c.Args...); len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		program = path.Base(words[0])
	}
	c.Command, c.Args, c.Env, c.VolumeMounts, pod.Spec.Volumes = []string{program}, nil, nil, nil, nil
	data, err := k8syaml.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("reading the static pod manifest: %w", err)
	}
	var tree any
	if err := k8syaml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("reading the static pod manifest: %w", err)
	}
	out := map[string]leaf{}
	collect(out, "", tree, own)
	return out, nil
}

// leaf is a value as it stands there, and with ownMark for the node's own.
type leaf struct{ plain, marked string }

func collect(out map[string]leaf, at string, v any, own Own) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			collect(out, strings.TrimPrefix(at+"."+k, "."), inner, own)
		}
	case []any:
		for i, inner := range v {
			name := fmt.Sprint(i)
			if m, ok := inner.(map[string]any); ok && m["name"] != nil {
				name = fmt.Sprint(m["name"])
			}
			collect(out, fmt.Sprintf("%s[%s]", at, name), inner, own)
		}
	case string:
		out[at] = leaf{v, own.mark(v, ownMark, ownMark)}
	case nil:
	default:
		out[at] = leaf{fmt.Sprint(v), fmt.Sprint(v)}
	}
}
