package playground

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/cluster"
)

// newTest is a playground as Up makes it, in a folder of the test's.
func newTest(t *testing.T, change func(*state)) *Playground {
	t.Helper()
	o, err := Options{Name: "test", Dir: t.TempDir(), CacheDir: t.TempDir()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s := state{Options: o, Slot: 3, Base: filepath.Join(o.CacheDir, "base")}
	if change != nil {
		change(&s)
	}
	dir := filepath.Join(o.Dir, o.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return newPlayground(dir, s, func(string) {})
}

func TestSlotsAreDistinctAndInTheBenchmarkingRange(t *testing.T) {
	t.Parallel()
	benchmarking := netip.MustParsePrefix("198.18.0.0/15")
	var taken []netip.Prefix
	for slot := range slots {
		s := subnet(slot)
		if !benchmarking.Contains(s.Addr()) || s.Bits() != 24 {
			t.Fatalf("slot %d is %s", slot, s)
		}
		if inUse(s, taken) {
			t.Fatalf("slot %d (%s) overlaps another", slot, s)
		}
		taken = append(taken, s)
	}
	if !inUse(subnet(7), []netip.Prefix{netip.MustParsePrefix("198.18.0.1/16").Masked()}) {
		t.Error("a slot inside a network of this machine counts as free")
	}
}

func TestHostsNeverShareAnAddressOrAName(t *testing.T) {
	t.Parallel()
	for workers := -1; workers <= maxWorkers; workers++ {
		hosts := layOut(state{Slot: 300, Options: Options{Workers: workers, Spare: true}})
		seen := map[string]bool{
			slotAddress(300, lastGateway).String():  true,
			slotAddress(300, lastOperator).String(): true,
		}
		for _, h := range hosts {
			if !subnet(300).Contains(h.Address) {
				t.Errorf("%d workers: %s is at %s, outside its slot", workers, h.Name, h.Address)
			}
			for _, id := range []string{h.Name, h.Address.String()} {
				if seen[id] {
					t.Errorf("%d workers: %s is there twice", workers, id)
				}
				seen[id] = true
			}
		}
		if want := 8 + max(workers, 0); len(hosts) != want {
			t.Errorf("%d workers: %d hosts, want %d", workers, len(hosts), want)
		}
	}
}

func TestSpareIsTheNextWorkerAndNotInTheSpec(t *testing.T) {
	t.Parallel()
	p := newTest(t, func(s *state) { s.Spare = true })
	spare := withRole(p.hosts, RoleSpare)
	if len(spare) != 1 || spare[0].Name != "w3" || spare[0].joins() || !spare[0].kubernetes() {
		t.Fatalf("spare hosts: %+v", spare)
	}
	spec, err := p.spec("[SystemVerification]")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(spec, "w3") {
		t.Errorf("the spec names the spare host:\n%s", spec)
	}
}

func TestSpecFileIsAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(*state)
		user    string
		workers []string
	}{
		{"defaults", nil, "root", []string{"w1", "w2"}},
		{"sudo user", func(s *state) { s.SudoUser = "operator" }, "operator", []string{"w1", "w2"}},
		{"no workers", func(s *state) { s.Workers = -1 }, "root", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newTest(t, c.change)
			text, err := p.spec("[SystemVerification, Swap]")
			if err != nil {
				t.Fatal(err)
			}
			spec, err := cluster.ParseBytes(p.SpecFile(), []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			var workers []string
			for _, w := range spec.Workers {
				workers = append(workers, w.Name)
			}
			got := []any{spec.Name, spec.Endpoint, spec.LoadBalancer.Kind, spec.Etcd.Topology, spec.Etcd.Binary, len(spec.Etcd.Hosts),
				spec.ControlPlane.First.Name, spec.ControlPlane.First.Address, len(spec.ControlPlane.Joining), spec.ControlPlane.Join,
				spec.SSH.User, spec.SSH.IdentityFile, spec.SSH.KnownHostsFile, spec.SSH.Become, workers}
			want := []any{"test", cluster.Endpoint{Host: "198.18.3.5", Port: 6443}, "nginx", "external", "from-control-plane", 3,
				"cp1", "198.18.3.11", 2, cluster.Join{Patches: "/etc/kubernetes/patches", IgnorePreflightErrors: []string{"SystemVerification", "Swap"}},
				c.user, p.Identity(), p.KnownHosts(), "auto", c.workers}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("spec (-want +got):\n%s\n%s", diff, text)
			}
		})
	}
}

func TestPlaygroundsOfOneNameInTwoFoldersAreTwo(t *testing.T) {
	t.Parallel()
	a, b := Options{Name: "lab", Dir: "/a"}, Options{Name: "lab", Dir: "/b"}
	if a.id() == b.id() {
		t.Errorf("both are %s", a.id())
	}
}

func TestMissingPackagesAreNamedOnce(t *testing.T) {
	t.Parallel()
	none := func(string) (string, error) { return "", exec.ErrNotFound }
	got := missingPackages(none)
	want := []string{"systemd-container", "mmdebstrap", "iproute2", "util-linux", "mount", "openssh-client", "coreutils", "debian-archive-keyring"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all missing (-want +got):\n%s", diff)
	}
	some := func(program string) (string, error) {
		if program == "ssh-keygen" {
			return "", exec.ErrNotFound
		}
		return "/usr/bin/" + program, nil
	}
	if got := missingPackages(some); !slices.Equal(got, []string{"openssh-client"}) {
		t.Errorf("ssh-keygen missing: %v", got)
	}
}

func TestCgroupHierarchies(t *testing.T) {
	t.Parallel()
	const hybrid = `24 1 0:22 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw
25 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct
26 24 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
27 24 0:31 / /sys/fs/cgroup/unified rw,relatime shared:11 - cgroup2 cgroup2 rw
28 24 0:29 /docker /var/lib/x rw,relatime - cgroup cgroup rw,cpu,cpuacct
`
	v1, v2 := cgroupMounts(hybrid)
	if want := []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/systemd"}; !slices.Equal(v1, want) {
		t.Errorf("v1: %v, want %v", v1, want)
	}
	if want := []string{"/sys/fs/cgroup/unified"}; !slices.Equal(v2, want) {
		t.Errorf("v2: %v, want %v", v2, want)
	}
	v1, v2 = cgroupMounts("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
	if len(v1) != 0 || !slices.Equal(v2, []string{"/sys/fs/cgroup"}) {
		t.Errorf("v2 alone: %v, %v", v1, v2)
	}
}

func TestHostFilesPerRole(t *testing.T) {
	t.Parallel()
	p := newTest(t, func(s *state) { s.Spare = true })
	const kubelet, nginx = "/etc/systemd/system/multi-user.target.wants/kubelet.service", "/etc/systemd/system/multi-user.target.wants/nginx.service"
	ids := map[string]string{}
	for _, h := range p.hosts {
		list, err := p.hostFiles(h, "registry.k8s.io/pause:3.10.2")
		if err != nil {
			t.Fatal(err)
		}
		byPath := map[string]hostFile{}
		for _, f := range list {
			if _, twice := byPath[f.path]; twice {
				t.Errorf("%s has %s twice", h.Name, f.path)
			}
			byPath[f.path] = f
		}
		if _, has := byPath[kubelet]; has != h.kubernetes() {
			t.Errorf("%s (%s) starts a kubelet: %t", h.Name, h.Role, has)
		}
		if _, has := byPath[nginx]; has != (h.Role == RoleLoadBalancer) {
			t.Errorf("%s (%s) starts nginx: %t", h.Name, h.Role, has)
		}
		for _, other := range p.hosts {
			if line := fmt.Sprintf("%s\t%s\n", other.Address, other.Name); !strings.Contains(byPath["/etc/hosts"].data, line) {
				t.Errorf("/etc/hosts of %s lacks %q", h.Name, line)
			}
			route := "Destination=" + other.podSubnet().String()
			if got := strings.Contains(byPath["/etc/systemd/network/10-host0.network"].data, route); got != (other.kubernetes() && other.Name != h.Name) {
				t.Errorf("%s has a route to the pods of %s: %t", h.Name, other.Name, got)
			}
		}
		id := byPath["/etc/machine-id"].data
		if len(id) != 33 || ids[id] != "" {
			t.Errorf("machine-id of %s: %q, also of %q", h.Name, id, ids[id])
		}
		ids[id] = h.Name
	}
}

func TestPollSaysWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	err := poll(t.Context(), 60*time.Millisecond, "the moon", func() (bool, error) { return false, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the moon") {
		t.Errorf("expiry: %v", err)
	}
	boom := errors.New("boom")
	if err := poll(t.Context(), time.Second, "x", func() (bool, error) { return false, boom }); !errors.Is(err, boom) {
		t.Errorf("error: %v", err)
	}
}

func TestEachReturnsTheFirstErrorAndEndsTheOthers(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	err := each(t.Context(), []int{0, 1, 2, 3}, 4, func(ctx context.Context, i int) error {
		if i == 2 {
			return boom
		}
		<-ctx.Done() // else the test hangs
		return ctx.Err()
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	var running, most atomic.Int32
	if err := each(t.Context(), make([]int, 20), 3, func(context.Context, int) error {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		return nil
	}); err != nil || most.Load() > 3 {
		t.Errorf("%d at a time, %v", most.Load(), err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if _, err := Open(root, "none", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("none there: %v", err)
	}
	p := newTest(t, func(s *state) { s.Ready = true })
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(filepath.Dir(p.dir), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.state, again.state); diff != "" {
		t.Errorf("state read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(p.Hosts(), again.Hosts(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	// A folder without a state is what an `up` leaves that was killed at its
	// very beginning: down must find it.
	if err := os.Mkdir(filepath.Join(root, "early"), 0o755); err != nil {
		t.Fatal(err)
	}
	early, err := Open(root, "early", nil)
	if err != nil || early.state.Ready || early.state.id() != (Options{Name: "early", Dir: root}).id() {
		t.Errorf("killed early: %+v, %v", early, err)
	}
	if names, err := List(filepath.Dir(p.dir)); err != nil || !slices.Equal(names, []string{"test"}) {
		t.Errorf("list: %v, %v", names, err)
	}
}

func TestSSHCommandChecksHostKeysAndKeepsTheUsersConfigurationOut(t *testing.T) {
	t.Parallel()
	p := newTest(t, func(s *state) { s.SudoUser = "operator" })
	if err := os.WriteFile(p.Identity(), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	words, err := p.SSH("cp2", "uname", "-a")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(words, " ")
	for _, want := range []string{"-F none", "StrictHostKeyChecking=yes", "UserKnownHostsFile=" + p.KnownHosts(), "operator@198.18.3.12 -- uname -a"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in: %s", want, line)
		}
	}
	var mistake *UserError
	if _, err := p.SSH("cp9"); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "cp1, cp2, cp3") {
		t.Errorf("unknown host: %v", err)
	}
}

func TestKubeconfigTalksToTheFirstNode(t *testing.T) {
	t.Parallel()
	p := newTest(t, nil)
	admin := p.rootFile(withRole(p.hosts, RoleFirst)[0], "/etc/kubernetes/admin.conf")
	if err := os.MkdirAll(filepath.Dir(admin), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(admin, []byte("clusters:\n- cluster:\n    server: https://cp1.example:6443\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.writeKubeconfig(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(p.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if want := "    server: https://198.18.3.11:6443\n"; !strings.HasSuffix(string(data), want) {
		t.Errorf("kubeconfig:\n%s", data)
	}
	if info, err := os.Stat(p.Kubeconfig()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestBootScriptQuotesAndLayersNodesOnly(t *testing.T) {
	t.Parallel()
	p := newTest(t, nil)
	for _, h := range p.hosts {
		groups := []string{"/sys/fs/cgroup/cpu,cpuacct/x"}
		boot, run := p.boot(h, groups), p.script(h, groups)
		if got := strings.Contains(boot, "lowerdir="+p.layerDir()+":"); got != h.kubernetes() {
			t.Errorf("%s has the Kubernetes layer: %t", h.Name, got)
		}
		for _, script := range []string{boot, run} {
			if out, err := exec.Command("/bin/sh", "-n", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", h.Name, err, out)
			}
		}
	}
}
