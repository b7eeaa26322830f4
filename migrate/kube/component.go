package kube

import (
	"path"
	"slices"
)

// Component is one of the three static pods that kubeadm makes on every
// control-plane node, by the name of its pod and of its manifest.
type Component string

// The components.
const (
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
)

// Components lists them in kubeadm's order.
func Components() []Component { return []Component{APIServer, ControllerManager, Scheduler} }

// ManifestPath is the component's manifest on a node.
func (c Component) ManifestPath() string { return path.Join(ManifestsDir, string(c)+".yaml") }

// Section is where kubeadm-config speaks of the component: "apiServer".
func (c Component) Section() string {
	switch c {
	case APIServer:
		return "apiServer"
	case ControllerManager:
		return "controllerManager"
	}
	return "scheduler"
}

// ProcessName is what the kernel calls its process: it keeps 15 characters
// (/proc/PID/comm).
func (c Component) ProcessName() string { return string(c)[:min(15, len(c))] }

// Names lists the flags once each, in the order in which they first stand.
func (f Flags) Names() []string {
	var out []string
	for _, flag := range f {
		if !slices.Contains(out, flag.Name) {
			out = append(out, flag.Name)
		}
	}
	return out
}

// All lists a flag's values in their order. One that stands there several times
// adds up or is overwritten, as its type has it; the same value twice in a row
// is the same as once for either.
func (f Flags) All(name string) []string {
	var out []string
	for _, flag := range f {
		if flag.Name == name && (len(out) == 0 || out[len(out)-1] != flag.Value) {
			out = append(out, flag.Value)
		}
	}
	return out
}
