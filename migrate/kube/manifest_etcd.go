package kube

import (
	"path"
	"strings"
)

// Command is the first container's command and arguments, word by word.
func (m Manifest) Command() []string {
	c := m.pod.Spec.Containers[0]
	return append(append([]string{}, c.Command...), c.Args...)
}

// Containers counts the pod's containers, those that run before them included.
func (m Manifest) Containers() int {
	return len(m.pod.Spec.Containers) + len(m.pod.Spec.InitContainers)
}

// OnHost is where the node has what the first container sees at a path: in the
// hostPath volume that is mounted there, or the nearest one above. It is false
// where no such volume is mounted, so that the path is the container's own.
func (m Manifest) OnHost(inside string) (string, bool) {
	inside = path.Clean(inside)
	best, found, host := "", false, ""
	for _, vm := range m.pod.Spec.Containers[0].VolumeMounts {
		at := path.Clean(vm.MountPath)
		rest, below := strings.CutPrefix(inside, strings.TrimSuffix(at, "/")+"/")
		if inside == at {
			rest, below = "", true
		}
		if !below || len(at) < len(best) {
			continue
		}
		best, found = at, false
		for _, v := range m.pod.Spec.Volumes {
			// Where subPathExpr leads is the kubelet's to say.
			if v.Name == vm.Name && v.HostPath != nil && vm.SubPathExpr == "" {
				host, found = path.Join(v.HostPath.Path, vm.SubPath, rest), true
			}
		}
	}
	return host, found
}
