package simulator

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Mount makes a folder a disk of its own, with a lost+found, or another file
// system with options, as /proc/self/mounts shows it. The kind "bind" is a folder
// of the same disk that is bound there.
func (w *World) Mount(host, dir, kind, options string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[host]
	if !h.has(dir) {
		h.mkdir(dir, 0o755, "root:root")
	}
	if kind == "ext4" {
		h.mkdir(dir+"/lost+found", 0o700, "root:root")
	}
	device := len(strings.Split(h.read(mountInfo), "\n"))
	if kind == "bind" {
		device = deviceOfRoot
		kind = "ext4"
	}
	h.put(mountInfo, h.read(mountInfo)+fmt.Sprintf("36 25 8:%d / %s %s - %s /dev/sdb1 rw\n", device, dir, options, kind), 0o444, "root:root")
	h.put(mounts, h.read(mounts)+fmt.Sprintf("/dev/sdb1 %s %s %s 0 0\n", dir, kind, options), 0o444, "root:root")
}

const (
	mounts       = "/proc/self/mounts"
	mountInfo    = "/proc/self/mountinfo"
	deviceOfRoot = 1
)

// mountOf is the nearest mount point above a path.
func (h *Host) mountOf(name string) string {
	best := ""
	for line := range strings.Lines(h.read(mounts)) {
		words := strings.Fields(line)
		if len(words) > 1 && len(words[1]) > len(best) && (name == words[1] || strings.HasPrefix(name, strings.TrimSuffix(words[1], "/")+"/")) {
			best = words[1]
		}
	}
	return best
}

// disk tells the disks of a host apart, as stat's %d does.
func (h *Host) disk(name string) string {
	at := h.mountOf(name)
	device := fmt.Sprintf("8:%d", deviceOfRoot)
	for line := range strings.Lines(h.read(mountInfo)) {
		if words := strings.Fields(line); len(words) > 4 && words[4] == at {
			device = words[2]
		}
	}
	return strings.TrimPrefix(device, "8:")
}

// mountable plays what the kubelet does for a hostPath before the pod starts
// (kubernetes: pkg/volume/hostpath): a file is made, but no folder above it.
func (h *Host) mountable(v *corev1.HostPathVolumeSource) error {
	if v == nil || v.Type == nil {
		return nil
	}
	i, err := h.stat(v.Path)
	switch *v.Type {
	case corev1.HostPathFile:
		if err != nil || i.IsDir() {
			return fmt.Errorf("hostPath type check failed: %s is not a file", v.Path)
		}
	case corev1.HostPathDirectory:
		if err != nil || !i.IsDir() {
			return fmt.Errorf("hostPath type check failed: %s is not a directory", v.Path)
		}
	case corev1.HostPathFileOrCreate:
		if err == nil {
			return nil
		}
		if !h.has(path.Dir(v.Path)) {
			return fmt.Errorf("open %s: no such file or directory", v.Path)
		}
		h.put(v.Path, "", 0o644, "root:root")
	}
	return nil
}
