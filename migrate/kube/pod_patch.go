package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Patch is what a file of kubeadm's patches folder has to hold for a joining
// node to get what runs on the first one (kubeadm: util/patches).
type Patch struct {
	Kind string // "strategic" or "json", as the file's name says it
	Text string
}

// Patches are the patches that make Made what Live is, for the node that Made
// is for. What is the first node's own becomes that node's. What is a secret or
// may be one is not written: masked says that there is some, to be filled in.
func (s Sides) Patches(differences []Difference) (out []Patch, masked bool, err error) {
	target, appended := s.target(differences)
	v := s.veil(s.MadeOwn, fillIn)
	strategic, err := strategicpatch.CreateTwoWayMergePatch([]byte(text(s.Made.pod)), []byte(text(target)), corev1.Pod{})
	if err != nil {
		return nil, false, fmt.Errorf("making a patch for %s: %w", s.Component, err)
	}
	var tree any
	if err := json.Unmarshal(strategic, &tree); err != nil {
		return nil, false, fmt.Errorf("making a patch for %s: %w", s.Component, err)
	}
	if body := text(mapStrings("", withoutOrder(tree), v.text)); body != "{}" {
		out = append(out, Patch{"strategic", body})
	}
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var list []operation
	for _, word := range appended {
		list = append(list, operation{"add", "/spec/containers/0/command/-", v.text("spec.containers["+v.main[0]+"].command[1]", word)})
	}
	if list != nil {
		out = append(out, Patch{"json", text(list)})
	}
	return out, v.drawn, nil
}

// fillIn stands in a patch for what is not printed.
const fillIn = "AS-ON-THE-FIRST-NODE"

func (s Sides) veil(own Own, instead string) *veil {
	return &veil{own: own, instead: instead, main: []string{s.Live.pod.Spec.Containers[0].Name, s.Made.pod.Spec.Containers[0].Name}}
}

// target is Made with the differences taken over from Live, and the flags to
// append to its command: a flag that is only missing is appended, so that the
// patch still fits after an upgrade.
func (s Sides) target(differences []Difference) (target *corev1.Pod, appended []string) {
	target = s.Made.pod.DeepCopy()
	live := s.localised()
	c := &target.Spec.Containers[0]
	for _, d := range differences {
		switch d.Field {
		case ExtraArgs:
			var words []string
			for _, v := range d.values {
				words = append(words, "--"+d.Name+"="+s.LiveOwn.markFlag(Flag{d.Name, v}, s.MadeOwn.Address, s.MadeOwn.Name))
			}
			if d.Made == "" {
				appended = append(appended, words...)
				continue
			}
			c.Command = slices.DeleteFunc(append(slices.Clone(c.Command), c.Args...), func(w string) bool {
				return w == "--"+d.Name || strings.HasPrefix(w, "--"+d.Name+"=")
			})
			c.Args = nil
			c.Command = append(c.Command, words...)
		case ExtraEnvs:
			c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == d.Name })
			if d.env != nil {
				e := *d.env
				if !proxyException(e.Name) {
					e.Value = s.LiveOwn.mark(e.Value, s.MadeOwn.Address, s.MadeOwn.Name)
				}
				c.Env = append(c.Env, e)
			}
		case ExtraVolumes:
			takeVolume(target, live, d.Name)
		}
	}
	if slices.ContainsFunc(differences, func(d Difference) bool { return d.Field == "" && !d.Slight }) {
		target = takeRest(target, live)
	}
	return target, appended
}

// localised is the live pod with the other node's name and address in the place
// of its own.
func (s Sides) localised() *corev1.Pod {
	var tree any
	if err := json.Unmarshal([]byte(text(s.Live.pod)), &tree); err != nil {
		return s.Live.pod.DeepCopy()
	}
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(text(mapStrings("", tree, func(at, v string) string {
		if m := variableAt.FindStringSubmatch(at[strings.LastIndex(at, ".env[")+1:]); m != nil && proxyException(m[1]) {
			return v
		}
		return s.LiveOwn.mark(v, s.MadeOwn.Address, s.MadeOwn.Name)
	}))), &pod); err != nil {
		return s.Live.pod.DeepCopy()
	}
	return &pod
}

func takeVolume(to, from *corev1.Pod, name string) {
	to.Spec.Volumes = slices.DeleteFunc(to.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	c := &to.Spec.Containers[0]
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })
	for _, v := range from.Spec.Volumes {
		if v.Name == name {
			to.Spec.Volumes = append(to.Spec.Volumes, v)
		}
	}
	for _, m := range from.Spec.Containers[0].VolumeMounts {
		if m.Name == name {
			c.VolumeMounts = append(c.VolumeMounts, m)
		}
	}
}

// takeRest takes all of a pod but the flags, variables and volumes of its first
// container.
func takeRest(to, from *corev1.Pod) *corev1.Pod {
	out := from.DeepCopy()
	out.Status = to.Status
	keep, c := to.Spec.Containers[0], &out.Spec.Containers[0]
	c.Command, c.Args, c.Env, c.VolumeMounts = keep.Command, keep.Args, keep.Env, keep.VolumeMounts
	out.Spec.Volumes = to.Spec.Volumes
	return out
}

// withoutOrder leaves out the directives on the order of lists: it means nothing
// for containers, variables and mounts.
func withoutOrder(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if strings.HasPrefix(k, "$setElementOrder/") || k == "creationTimestamp" && v[k] == nil {
				delete(v, k)
				continue
			}
			v[k] = withoutOrder(v[k])
			if m, ok := v[k].(map[string]any); ok && len(m) == 0 && k != "emptyDir" {
				delete(v, k)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutOrder(v[i])
		}
	}
	return v
}
