package playground

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// hostLeaf is the group below a host's own, on cgroup v2, that the host runs
// in. The host's own passes the controllers on to it, and with that the kernel
// refuses to take them back from the root: a service manager that needs one no
// more does that when it likes. And a group that passes controllers on takes no
// process itself (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process
// Constraint").
const hostLeaf = "host"

// makeCgroups makes a host's groups and returns those that it is to join.
func (p *Playground) makeCgroups(ctx context.Context, h Host) ([]string, error) {
	v1, v2, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var join []string
	for _, root := range v1 {
		group := filepath.Join(root, p.cgroupName(h))
		if err := makeGroup(group); err != nil {
			return nil, err
		}
		join = append(join, group)
		// A new v1 cpuset has no processors and takes no process until it
		// has; other controllers lack these files.
		for _, name := range []string{"cpuset.mems", "cpuset.cpus"} {
			if data, err := os.ReadFile(filepath.Join(root, name)); err == nil {
				if err := os.WriteFile(filepath.Join(group, name), data, 0o644); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, root := range v2 {
		group := filepath.Join(root, p.cgroupName(h))
		if err := makeGroup(group); err != nil {
			return nil, err
		}
		if err := passControllers(ctx, root, group); err != nil {
			return nil, err
		}
		leaf := filepath.Join(group, hostLeaf)
		if err := makeGroup(leaf); err != nil {
			return nil, err
		}
		join = append(join, leaf)
	}
	return join, nil
}

func makeGroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// passControllers has every controller of a v2 root passed on to a group
// below it and by the group to its children. A controller that the root cannot
// pass on is left out: the kubelet, which misses it, says so better. One that
// the root passes on may be undone before the group has it, and so is
// passed on again.
func passControllers(ctx context.Context, root, group string) error {
	return poll(ctx, 10*time.Second, "the controllers of "+group, func() (bool, error) {
		data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			return false, err
		}
		whole := true
		for _, c := range strings.Fields(string(data)) {
			if enable(root, c) == nil && enable(group, c) != nil {
				whole = false
			}
		}
		return whole, nil
	})
}

func enable(group, controller string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
}

// hierarchies lists this machine's cgroup hierarchies.
func hierarchies() (v1, v2 []string, err error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	v1, v2 = cgroupMounts(string(mountinfo))
	return v1, v2, nil
}

// groups lists the groups whose names match a pattern, in every hierarchy.
func groups(pattern string) ([]string, error) {
	v1, v2, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, root := range append(v1, v2...) {
		some, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// inGroup lists the processes in a group and those below it. What vanishes
// meanwhile is left out, and so is what this machine does not see (0).
func inGroup(group string) []int {
	var pids []int
	_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, word := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// onlyCgroupV1 says whether controllers are on cgroup v1 here, which the
// kubelet refuses from 1.35 on unless told otherwise.
func onlyCgroupV1() (bool, error) {
	v1, _, err := hierarchies()
	return len(v1) > 0, err
}

// removeCgroups ends what runs in the groups whose names match a pattern, in
// every hierarchy, and removes them with what the hosts made inside. The kernel
// frees a group a moment after its last process.
func removeCgroups(ctx context.Context, pattern string) error {
	found, err := groups(pattern)
	if err != nil {
		return err
	}
	for _, group := range found {
		if err := removeCgroup(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

func removeCgroup(ctx context.Context, group string) error {
	return poll(ctx, 10*time.Second, group+" to be empty", func() (bool, error) {
		// All at once where the kernel can (v2), which no new child escapes.
		_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
		for _, pid := range inGroup(group) {
			if err := kill(pid); err != nil {
				return false, err
			}
		}
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
