package phasestest

import (
	"fmt"
	"strings"
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
