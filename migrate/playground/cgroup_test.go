package playground

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// testHierarchy is a cgroup v2 hierarchy of this machine that has a controller
// to pass on, and a group of the test's own in it.
func testHierarchy(t *testing.T) (root, group string) {
	t.Helper()
	_, v2, err := hierarchies()
	if err != nil || os.Geteuid() != 0 || len(v2) == 0 {
		t.Skipf("groups of a real cgroup v2 hierarchy are made by root, and where there is one: %v", err)
	}
	root = v2[0]
	if data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err != nil || len(strings.Fields(string(data))) == 0 {
		t.Skipf("all controllers are on cgroup v1 here, so there is none to pass on: %v", err)
	}
	group = filepath.Join(root, fmt.Sprintf("migrate-unit-%d-%s", os.Getpid(), t.Name()))
	if err := makeGroup(group); err != nil {
		if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) {
			t.Skip("this machine's groups cannot be changed: ", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeCgroup(t.Context(), group); err != nil && exists(group) {
			t.Error(err)
		}
	})
	return root, group
}

func controllersOf(t *testing.T, group, file string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(group, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// runIn starts a program that stays, and puts it into a group.
func runIn(t *testing.T, group string) (*exec.Cmd, error) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Appendf(nil, "%d", cmd.Process.Pid), 0)
}

// What a service manager does to the root when none of its units needs a
// controller must not reach a host.
func TestControllersCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	root, group := testHierarchy(t)
	if err := passControllers(t.Context(), root, group); err != nil {
		t.Fatal(err)
	}
	leaf := filepath.Join(group, hostLeaf)
	if err := makeGroup(leaf); err != nil {
		t.Fatal(err)
	}
	has := controllersOf(t, leaf, "cgroup.controllers")
	for _, c := range controllersOf(t, root, "cgroup.subtree_control") {
		if !slices.Contains(has, c) {
			t.Errorf("the host has no %s, which the root passes on", c)
		}
	}
	for _, c := range has {
		err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("-"+c), 0)
		if !errors.Is(err, syscall.EBUSY) {
			t.Errorf("taking %s back from the root: %v, want EBUSY", c, err)
		}
	}
	if _, err := runIn(t, leaf); err != nil {
		t.Errorf("a process does not come into the host's group: %v", err)
	}
}

// A host that switched itself off leaves a group that passes controllers on
// and so takes no process; and processes that nothing holds may be left in it.
func TestWhatAHostLeavesIsRemovedBeforeItsNextStart(t *testing.T) {
	t.Parallel()
	root, group := testHierarchy(t)
	leaf := filepath.Join(group, hostLeaf)
	service := filepath.Join(leaf, "payload", "system.slice")
	if err := os.MkdirAll(service, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := passControllers(t.Context(), root, group); err != nil {
		t.Fatal(err)
	}
	if err := passControllers(t.Context(), root, leaf); err != nil {
		t.Fatal(err)
	}
	if _, err := runIn(t, leaf); err == nil {
		t.Fatal("a group that passes controllers on takes a process: this test proves nothing")
	}
	left, err := runIn(t, service)
	if err != nil {
		t.Fatal(err)
	}
	if got := inGroup(group); !slices.Equal(got, []int{left.Process.Pid}) {
		t.Errorf("processes in the group: %v, want %d", got, left.Process.Pid)
	}
	ended := make(chan error, 1)
	go func() { ended <- left.Wait() }()
	if err := removeCgroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("what was left ended by itself")
	}
	if err := makeGroup(group); err != nil {
		t.Fatal(err)
	}
	if err := makeGroup(leaf); err != nil {
		t.Fatal(err)
	}
	if _, err := runIn(t, leaf); err != nil {
		t.Errorf("a process does not come into the new group: %v", err)
	}
}

// The boot script's own emptying, between a host's reboot and its next start.
func TestGroupsAreEmptiedBetweenTwoStarts(t *testing.T) {
	t.Parallel()
	root, group := testHierarchy(t)
	leaf := filepath.Join(group, hostLeaf)
	if err := os.MkdirAll(filepath.Join(leaf, "payload", "init.scope"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{group, leaf} {
		if err := passControllers(t.Context(), root, g); err != nil {
			t.Fatal(err)
		}
	}
	p := newTest(t, nil)
	h := p.hosts[0]
	// Its systemd-nspawn says twice that it is to be started again.
	starts := filepath.Join(t.TempDir(), "starts")
	run := fmt.Sprintf("echo $$ > %s/cgroup.procs || exit 1\necho start >> %s\n[ $(wc -l < %s) = 3 ] || exit %d\n", leaf, starts, starts, rebooted)
	if err := os.MkdirAll(p.hostDir(h), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.hostFile(h, runScript), []byte("mkdir -p "+leaf+"/payload\n"+run), 0o700); err != nil {
		t.Fatal(err)
	}
	_, loop, ok := strings.Cut(p.boot(h, []string{leaf}), "\nempty()")
	if !ok {
		t.Fatal("the boot script has no part that empties groups")
	}
	// The first start finds what the playground made: an empty group.
	first := "set -e\nempty()" + strings.Replace(loop, "while :; do", "empty "+leaf+"\nwhile :; do", 1)
	if out, err := exec.Command("/bin/sh", "-c", first).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(starts); err != nil || strings.Count(string(data), "start") != 3 {
		t.Errorf("started %q, %v; want three times", data, err)
	}
}
