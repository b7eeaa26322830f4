package kube

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// ManifestsDir is where kubeadm's kubelet looks for static pod manifests
// (kubeadm: constants.ManifestsSubDirName).
const ManifestsDir = "/etc/kubernetes/manifests"

// Manifest is a static pod manifest as read from a node.
type Manifest struct {
	data []byte
	pod  corev1.Pod
}

// ParseManifest reads a static pod manifest with at least one container.
func ParseManifest(data []byte) (Manifest, error) {
	m := Manifest{data: data}
	if err := k8syaml.Unmarshal(data, &m.pod); err != nil {
		return Manifest{}, fmt.Errorf("reading the static pod manifest: %w", err)
	}
	if len(m.pod.Spec.Containers) == 0 {
		return Manifest{}, fmt.Errorf("reading the static pod manifest: it has no container")
	}
	return m, nil
}

// Name is the pod's; its mirror in the API has the node's name behind it.
func (m Manifest) Name() string { return m.pod.Name }

// Namespace is the pod's, "default" where the manifest names none.
func (m Manifest) Namespace() string {
	if m.pod.Namespace == "" {
		return corev1.NamespaceDefault
	}
	return m.pod.Namespace
}

// Flags returns the flags of the first container's command and arguments.
func (m Manifest) Flags() Flags {
	c := m.pod.Spec.Containers[0]
	return ParseFlags(append(append([]string{}, c.Command...), c.Args...))
}

// HostPath is one folder or file of the node that the pod mounts.
type HostPath struct {
	Name     string
	Path     string
	ReadOnly bool
	// MountPath is where the pod's first container has it, "" for nowhere.
	MountPath string
	// Folder says what the manifest says of it: "File", "Directory",
	// "DirectoryOrCreate", … or "" where it says nothing.
	Type string
}

// HostPaths lists the pod's hostPath volumes in the manifest's order.
func (m Manifest) HostPaths() []HostPath {
	mounts := map[string]corev1.VolumeMount{}
	for _, vm := range m.pod.Spec.Containers[0].VolumeMounts {
		mounts[vm.Name] = vm
	}
	var out []HostPath
	for _, v := range m.pod.Spec.Volumes {
		if v.HostPath == nil {
			continue
		}
		hp := HostPath{Name: v.Name, Path: filepath.Clean(v.HostPath.Path), ReadOnly: mounts[v.Name].ReadOnly, MountPath: mounts[v.Name].MountPath}
		if v.HostPath.Type != nil {
			hp.Type = string(*v.HostPath.Type)
		}
		out = append(out, hp)
	}
	return out
}

// SetFlag returns the manifest with one flag that it already has set to
// another value, and every other byte kept.
func (m Manifest) SetFlag(name, value string) ([]byte, error) {
	node, err := m.flagNode(name)
	if err != nil {
		return nil, err
	}
	out, err := replaceScalar(m.data, node, "--"+name+"="+value)
	if err != nil {
		return nil, fmt.Errorf("setting --%s in the static pod manifest: %w", name, err)
	}
	again, err := ParseManifest(out)
	if err != nil {
		return nil, err
	}
	if got, _ := again.Flags().Get(name); got != value {
		return nil, fmt.Errorf("setting --%s in the static pod manifest: read back %q", name, got)
	}
	if !reflect.DeepEqual(again.pod, *m.withFlag(name, value)) {
		return nil, fmt.Errorf("setting --%s in the static pod manifest would change more than that (an alias leads to it)", name)
	}
	return out, nil
}

// withFlag is the pod with the first word that sets a flag changed.
func (m Manifest) withFlag(name, value string) *corev1.Pod {
	pod := m.pod.DeepCopy()
	for _, words := range [][]string{pod.Spec.Containers[0].Command, pod.Spec.Containers[0].Args} {
		for i, w := range words {
			if strings.HasPrefix(w, "--"+name+"=") {
				words[i] = "--" + name + "=" + value
				return pod
			}
		}
	}
	return pod
}

func (m Manifest) flagNode(name string) (*yaml.Node, error) {
	top, err := parseDocument(m.data)
	if err != nil {
		return nil, err
	}
	containers := child(child(top, "spec"), "containers")
	if containers == nil || containers.Kind != yaml.SequenceNode || len(containers.Content) == 0 {
		return nil, fmt.Errorf("the static pod manifest writes its containers in a way this tool does not edit (an alias, or other letter case)")
	}
	for _, list := range []string{"command", "args"} {
		words := child(containers.Content[0], list)
		if words == nil {
			continue
		}
		for _, w := range words.Content {
			if strings.HasPrefix(w.Value, "--"+name+"=") {
				return w, nil
			}
		}
	}
	return nil, fmt.Errorf("the static pod manifest has no flag --%s=…", name)
}

// Flags are a program's command-line flags in their order.
type Flags []Flag

// Flag is one --name=value; Value is "true" for a bare --name.
type Flag struct{ Name, Value string }

// ParseFlags reads flags from words as the programs of Kubernetes and etcd
// take them: --name=value, --name value, and a bare --name. Words before the
// first flag (the program's path) are left out.
func ParseFlags(words []string) Flags {
	var out Flags
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "-") {
			continue
		}
		name := strings.TrimLeft(w, "-")
		if n, v, ok := strings.Cut(name, "="); ok {
			out = append(out, Flag{n, v})
			continue
		}
		if i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			out = append(out, Flag{name, words[i+1]})
			i++
			continue
		}
		out = append(out, Flag{name, "true"})
	}
	return out
}

// Get returns the last value of a flag: a later one wins, as in pflag.
func (f Flags) Get(name string) (string, bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Name == name {
			return f[i].Value, true
		}
	}
	return "", false
}

// PodName is metadata.name.
func (m Manifest) PodName() string { return m.pod.Name }

// Image is the first container's image.
func (m Manifest) Image() string { return m.pod.Spec.Containers[0].Image }

// Env returns the first container's variables that have a value in the
// manifest itself.
func (m Manifest) Env() map[string]string {
	out := map[string]string{}
	for _, e := range m.pod.Spec.Containers[0].Env {
		out[e.Name] = e.Value
	}
	return out
}
