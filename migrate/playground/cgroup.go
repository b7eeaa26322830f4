package playground

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Each host gets a cgroup of its own in every hierarchy of this machine, and
// nspawn's cgroup namespace makes it the root the host sees: the kubelet and
// runc in there find what they would on a machine of their own. On cgroup v1
// that is one group a controller, on v2 a single one. Making groups at the
// root beside the service manager's is what container engines with the
// cgroupfs driver do.

func (p *Playground) cgroupName(h Host) string { return p.state.id() + "." + h.Name }

// cgroupMounts lists this machine's cgroup hierarchies.
func cgroupMounts(mountinfo string) (v1, v2 []string) {
	for line := range strings.Lines(mountinfo) {
		// 36 35 98:0 /root /mount/point options … - type source superoptions
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || fields[3] != "/" {
			continue
		}
		switch kind, _, _ := strings.Cut(after, " "); kind {
		case "cgroup":
			v1 = append(v1, fields[4])
		case "cgroup2":
			v2 = append(v2, fields[4])
		}
	}
	return v1, v2
}

// makeCgroups makes a host's groups and returns them.
func (p *Playground) makeCgroups(h Host) ([]string, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	v1, v2 := cgroupMounts(string(mountinfo))
	var groups []string
	for _, root := range append(v1, v2...) {
		group := filepath.Join(root, p.cgroupName(h))
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		groups = append(groups, group)
		// A new v1 cpuset has no processors and takes no process until it
		// has; other controllers lack these files.
		for _, name := range []string{"cpuset.mems", "cpuset.cpus"} {
			if data, err := os.ReadFile(filepath.Join(root, name)); err == nil && slices.Contains(v1, root) {
				if err := os.WriteFile(filepath.Join(group, name), data, 0o644); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, root := range v2 {
		enableControllers(root)
	}
	return groups, nil
}

// enableControllers passes every controller of a v2 root on to its children.
// One that cannot be is missed by the kubelet, which says so better.
func enableControllers(root string) {
	data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(data)) {
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// onlyCgroupV1 says whether controllers are on cgroup v1 here, which the
// kubelet refuses from 1.35 on unless told otherwise.
func onlyCgroupV1() (bool, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	v1, _ := cgroupMounts(string(mountinfo))
	return len(v1) > 0, nil
}

// removeCgroups removes the groups whose names match a pattern, in every
// hierarchy, with what the hosts made inside. The kernel frees a group a
// moment after its last process.
func removeCgroups(ctx context.Context, pattern string) error {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	v1, v2 := cgroupMounts(string(mountinfo))
	for _, root := range append(v1, v2...) {
		groups, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, group := range groups {
			if err := removeCgroup(ctx, group); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeCgroup(ctx context.Context, group string) error {
	return poll(ctx, 10*time.Second, group+" to be empty", func() (bool, error) {
		var dirs []string
		err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what vanished meanwhile needs no removing
		})
		if err != nil {
			return false, err
		}
		// Children first. A group that still has a process refuses. On cgroup
		// v1 one whose files are still kept in memory lives on unseen, and
		// costs the kernel a little for as long; a playground left some forty.
		// Emptying it before is what the kernel offers for that
		// (cgroup-v1/memory: force_empty); v2 has no such file.
		for _, dir := range slices.Backward(dirs) {
			_ = os.WriteFile(filepath.Join(dir, "memory.force_empty"), []byte("0"), 0)
			_ = os.Remove(dir)
		}
		return !exists(group), nil
	})
}
