package kube

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// rest compares what is left when flags, variables and volumes are taken out,
// leaf by leaf.
func (s Sides) rest(live, made *corev1.Pod) ([]Difference, error) {
	a, err := leaves(live, s.veil(s.LiveOwn, hidden))
	if err != nil {
		return nil, err
	}
	b, err := leaves(made, s.veil(s.MadeOwn, hidden))
	if err != nil {
		return nil, err
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	// Where a component listens on every address, it makes no difference which of
	// them the kubelet asks. kubeadm derives the one from --bind-address
	// (util/staticpod, getProbeAddress), and who edits a manifest does not.
	everywhere := commandFlags(live.Spec.Containers[0]).ListensEverywhere()
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, y := a[name], b[name]
		if x.plain == y.plain || x.marked == y.marked {
			continue
		}
		d := Difference{Component: s.Component, Name: name, Live: x.shown, Made: y.shown, secret: x.shown != x.plain}
		// kubeadm makes it of `timeouts`, which no ConfigMap keeps; it says only
		// how long the kubelet waits for the first answer.
		d.Slight = strings.HasSuffix(name, ".startupProbe.failureThreshold") ||
			strings.HasSuffix(name, ".httpGet.host") && everywhere && s.LiveOwn.reaches(x.plain) && s.MadeOwn.reaches(y.plain)
		out = append(out, d)
	}
	return out, nil
}

// reaches says whether a probe at this host asks the node itself: "" is the
// pod's address, and these pods have the node's.
func (o Own) reaches(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip.IsLoopback() || o.has(host)
}

// leaves are the values of a pod by their path, with the elements of lists
// named by their names. What Compare looks at by itself is left out.
func leaves(pod *corev1.Pod, v *veil) (map[string]leaf, error) {
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
	collect(out, "", tree, v)
	return out, nil
}

// leaf is a value as it stands there, with ownMark for the node's own, and as it
// is shown.
type leaf struct{ plain, marked, shown string }

func collect(out map[string]leaf, at string, v any, veil *veil) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			collect(out, strings.TrimPrefix(at+"."+k, "."), inner, veil)
		}
	case []any:
		for i, inner := range v {
			collect(out, elementAt(at, i, inner), inner, veil)
		}
	case string:
		out[at] = leaf{v, veil.own.mark(v, ownMark, ownMark), veil.text(at, v)}
	case nil:
	default:
		out[at] = leaf{fmt.Sprint(v), fmt.Sprint(v), fmt.Sprint(v)}
	}
}
