// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package preflight_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

var (
	begin sync.Once
	begun *simulator.Saved
)

// start is the world that all tests begin in; it is made once.
func start(t *testing.T) *simulator.Saved {
	t.Helper()
	begin.Do(func() {
		synctest.Test(t, func(t *testing.T) {
			w := simulator.New(t, simulator.EtcdOnHostAddress)
			defer w.Close()
			begun = w.Save()
		})
	})
	return begun
}

// look runs the checks in a world that arrange has changed.
func look(t *testing.T, o preflight.Options, arrange func(*testing.T, *simulator.World)) (r preflight.Report) {
	t.Helper()
	from := start(t)
	synctest.Test(t, func(t *testing.T) {
		w := from.World(t)
		defer w.Close()
		if arrange != nil {
			arrange(t, w)
		}
		env := w.Connect()
		defer env.Close()
		var err error
		if r, err = preflight.Run(t.Context(), env, o); err != nil {
			t.Fatal(err)
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
	return r
}

// bad leaves out what is fine.
func bad(r preflight.Report) []preflight.Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x preflight.Result) bool { return x.Severity == preflight.OK })
}

// TestHealthyCluster: nothing blocks, and each check has looked at each of its
// hosts.
func TestHealthyCluster(t *testing.T) {
	t.Parallel()
	var told []int
	r := look(t, preflight.Options{Tell: func(done, total int) { told = append(told, done, total) }}, nil)
	for _, x := range bad(r) {
		// What the world is like: an etcd of a patch with a bug that this tool
		// does not touch, and audit policies of the joining nodes' own.
		if x.Severity == preflight.Warning && slices.Contains([]string{"EtcdVersion", "HostFiles"}, x.Check) {
			continue
		}
		t.Errorf("%+v", x)
	}
	seen := map[string]int{}
	for _, x := range r.Results {
		seen[x.Check]++
	}
	for _, c := range preflight.Checks() {
		if seen[c.Name] == 0 {
			t.Errorf("%s has no result", c.Name)
		}
	}
	if want := 10; len(r.Hosts) != want || seen["Login"] != want {
		t.Errorf("hosts: %v, logins %d, want %d", r.Hosts, seen["Login"], want)
	}
	if len(told) == 0 || told[len(told)-1] != 10 {
		t.Errorf("told %v", told)
	}
}

// fault is one thing that is wrong, and who must say so.
type fault struct {
	name, check, host string
	severity          preflight.Severity
	words             []string
	arrange           func(*testing.T, *simulator.World)
}

func root(host, script string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		if err := w.Root(host, script); err != nil {
			t.Fatal(err)
		}
	}
}

func hardware(host string, change func(*simulator.Hardware)) func(*testing.T, *simulator.World) {
	return func(_ *testing.T, w *simulator.World) { w.Hardware(host, change) }
}

// flag adds an argument to the API server, and lets it restart.
func flag(text string) func(*testing.T, *simulator.World) {
	return below("    - --allow-privileged=true", "    - "+text)
}

// below adds lines, ~ between them, to the API server's manifest.
func below(line, more string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
		root("cp1", `sed 's|^\(`+line+`\)$|\1~`+more+`|' `+manifest+` | tr '~' '\n' > /tmp/new; cp /tmp/new `+manifest)(t, w)
		w.Pass(2 * time.Minute)
	}
}

// endsIn writes a certificate that ends soon.
func endsIn(host, file string, left time.Duration) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		w.Machine(host).Put(remote.File{Path: file, Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Mode: 0o644})
	}
}

func named(endpoint string, hosts ...string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		w.Spec.Endpoint.Host = endpoint
		for _, h := range hosts {
			root(h, "echo '10.88.0.5 "+endpoint+"' >> /etc/hosts")(t, w)
		}
	}
}

const day = 24 * time.Hour

func hostFaults() []fault {
	return []fault{
		{"a clock is ahead", "ClockSkew", "e2", preflight.Blocking, []string{"ahead", "3s"}, hardware("e2", func(h *simulator.Hardware) { h.Skew = 3 * time.Second })},
		{"a clock is a little behind", "ClockSkew", "w1", preflight.Warning, []string{"behind"}, hardware("w1", func(h *simulator.Hardware) { h.Skew = -700 * time.Millisecond })},
		{"a disk is full", "DiskSpace", "e1", preflight.Blocking, []string{"/var/lib", "needs 1024"}, hardware("e1", func(h *simulator.Hardware) { h.Free["/var/lib"] = 100 << 10 })},
		{"a disk is nearly full", "DiskSpace", "cp2", preflight.Warning, []string{"/var/lib"}, hardware("cp2", func(h *simulator.Hardware) { h.Free["/var/lib"] = 3 << 20 })},
		{"a disk is very slow", "DiskSync", "e3", preflight.Blocking, []string{"150.0 ms"}, hardware("e3", func(h *simulator.Hardware) { h.Sync = 150 * time.Millisecond })},
		{"a disk stalls once", "DiskSync", "e3", preflight.Warning, []string{"1000.0 ms", "once more", "0.8 ms"}, hardware("e3", func(h *simulator.Hardware) { h.Stalls = 3 })},
		{"a disk is slow", "DiskSync", "e3", preflight.Warning, []string{"20.0 ms"}, hardware("e3", func(h *simulator.Hardware) { h.Sync = 20 * time.Millisecond })},
		{"no memory for a second API server", "Memory", "cp1", preflight.Blocking, []string{"second API server"}, root("cp1", "echo 'MemTotal: 2000000 kB' > /proc/meminfo; echo 'MemAvailable: 300000 kB' >> /proc/meminfo")},
		{"a small joining node", "Memory", "cp3", preflight.Blocking, []string{"1700 MB"}, root("cp3", "echo 'MemTotal: 1000000 kB' > /proc/meminfo")},
		{"clones", "MachineID", "cp3", preflight.Blocking, []string{"w2", "cp3"}, func(t *testing.T, w *simulator.World) {
			root("cp3", "echo cloned > /etc/machine-id")(t, w)
			root("w2", "echo cloned > /etc/machine-id")(t, w)
		}},
		{"no conntrack", "Conntrack", "w1", preflight.Warning, []string{"not installed"}, root("w1", "rm /usr/sbin/conntrack")},
		{"swap is on", "Swap", "cp2", preflight.Warning, []string{"/dev/sda2"}, root("cp2", "echo '/dev/sda2 partition 1000 0 -2' >> /proc/swaps")},
		{"no inotify instances are left", "Inotify", "cp2", preflight.Blocking, []string{"120 of the 128"}, hardware("cp2", func(h *simulator.Hardware) { h.Inotify = 120 })},
		{"few inotify instances are left", "Inotify", "cp2", preflight.Warning, []string{"100 of the 128"}, hardware("cp2", func(h *simulator.Hardware) { h.Inotify = 100 })},
	}
}

func networkFaults() []fault {
	return []fault{
		{"an address that is another's", "Addresses", "w1", preflight.Warning, []string{"10.88.0.99"}, func(t *testing.T, w *simulator.World) {
			w.Spec.Workers = []cluster.Host{{Name: "w1", Address: "10.88.0.31"}, {Name: "w2", Address: "10.88.0.32"}}
			w.Address("w1", "10.88.0.99")
		}},
		{"several addresses", "Addresses", "cp2", preflight.Warning, []string{"192.168.7.2", "--node-ip"}, hardware("cp2", func(h *simulator.Hardware) { h.Addresses = []string{"192.168.7.2"} })},
		{"a name that a node does not know", "EndpointName", "w2", preflight.Blocking, []string{"does not resolve"}, named("api.example", "cp1", "cp2", "cp3", "w1")},
		{"a name with two meanings", "EndpointName", "cluster", preflight.Blocking, []string{"10.88.0.6 on w2", "10.88.0.5 on"}, func(t *testing.T, w *simulator.World) {
			named("api.example", "cp1", "cp2", "cp3", "w1")(t, w)
			root("w2", "echo '10.88.0.6 api.example' >> /etc/hosts")(t, w)
		}},
		{"a firewall before the load balancer", "Ports", "lb1", preflight.Blocking, []string{"10.88.0.5:6443", "from w1", "open TCP port 6443"}, func(_ *testing.T, w *simulator.World) { w.Cut("w1", "lb1", true) }},
		{"a firewall between etcd hosts", "Ports", "e2", preflight.Blocking, []string{"10.88.0.22:2380", "from e1"}, func(_ *testing.T, w *simulator.World) { w.Cut("e1", "e2", true) }},
		{"a proxy", "Proxy", "cp1", preflight.Warning, []string{"kube-apiserver", "10.88.0.21", "NO_PROXY"}, below("    imagePullPolicy: IfNotPresent", "    env:~    - name: HTTPS_PROXY~      value: http://user:secret@proxy~    - name: NO_PROXY~      value: 10.88.0.5,.local")},
	}
}

func clusterFaults() []fault {
	return []fault{
		{"an old kubeadm", "Versions", "cp2", preflight.Blocking, []string{"v1.35.1", "1.36.3"}, root("cp2", "printf 'v1.35.1' > /usr/bin/kubeadm; chmod 755 /usr/bin/kubeadm")},
		{"another patch", "Versions", "cp2", preflight.Warning, []string{"v1.36.1"}, root("cp2", "printf 'v1.36.1' > /usr/bin/kubeadm; chmod 755 /usr/bin/kubeadm")},
		{"no kubelet", "Versions", "cp3", preflight.Blocking, []string{"not installed"}, root("cp3", "rm /usr/bin/kubelet")},
		{"a kubelet that is too new", "Versions", "w1", preflight.Blocking, []string{"v1.37.0", "newer"}, root("w1", "printf 'v1.37.0' > /usr/bin/kubelet; chmod 755 /usr/bin/kubelet")},
		{"a certificate ends this week", "Certificates", "cp1", preflight.Blocking, []string{"apiserver-kubelet-client.crt ends in 3 days", "certs renew"}, endsIn("cp1", "/etc/kubernetes/pki/apiserver-kubelet-client.crt", 3*day+time.Hour)},
		{"a certificate has expired", "Certificates", "cp1", preflight.Blocking, []string{"has expired"}, endsIn("cp1", "/etc/kubernetes/pki/front-proxy-client.crt", -day)},
		{"a certificate ends this month", "Certificates", "e1", preflight.Warning, []string{"/etc/etcd/pki/peer.crt"}, endsIn("e1", "/etc/etcd/pki/peer.crt", 20*day)},
		{"no key of the CA", "CAKey", "cp1", preflight.Blocking, []string{"/etc/kubernetes/pki/ca.key"}, root("cp1", "rm /etc/kubernetes/pki/ca.key")},
		{"no key of etcd's CA", "CAKey", "cp1", preflight.Blocking, []string{"etcd/ca.key"}, root("cp1", "rm /etc/kubernetes/pki/etcd/ca.key")},
		{"a backup among the manifests", "StrayManifests", "cp1", preflight.Blocking, []string{"kube-apiserver.yaml.bak", "second manifest"}, root("cp1", "cp /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/manifests/kube-apiserver.yaml.bak")},
		{"notes among the manifests", "StrayManifests", "cp1", preflight.Warning, []string{"notes.txt"}, root("cp1", "echo hello > /etc/kubernetes/manifests/notes.txt")},
		{"a control plane left on a joining node", "StrayManifests", "cp2", preflight.Blocking, []string{"kubeadm reset"}, root("cp2", "mkdir -p /etc/kubernetes/manifests; echo 'kind: Pod' > /etc/kubernetes/manifests/etcd.yaml")},
		{"no anonymous requests", "AnonymousAuth", "cp1", preflight.Blocking, []string{"--anonymous-auth=false"}, flag("--anonymous-auth=false")},
		{"konnectivity", "EgressSelector", "cp1", preflight.Warning, []string{"/etc/egress.yaml"}, flag("--egress-selector-config-file=/etc/egress.yaml")},
		{"events in another etcd", "EtcdServersOverrides", "cp1", preflight.Blocking, []string{"elsewhere"}, flag("--etcd-servers-overrides=/events#https://10.0.0.9:2379")},
	}
}

func joinFaults() []fault {
	return []fault{
		{"no containerd", "ContainerRuntime", "cp2", preflight.Blocking, []string{"containerd.sock"}, root("cp2", "rm /run/containerd/containerd.sock")},
		{"another cgroup driver", "ContainerRuntime", "cp3", preflight.Warning, []string{"SystemdCgroup"}, root("cp3", "echo '' > /etc/containerd/config.toml")},
		{"no images", "Images", "cp2", preflight.Warning, []string{"registry.k8s.io/kube-apiserver:latest"}, root("cp2", "echo '' > /var/lib/containerd/images")},
		{"another audit policy", "HostFiles", "cp2", preflight.Warning, []string{"/etc/kubernetes/audit/policy.yaml differs"}, nil},
		{"an alarm", "EtcdAlarms", "cluster", preflight.Blocking, []string{"NOSPACE", "defrag"}, func(_ *testing.T, w *simulator.World) { w.Alarm("NOSPACE") }},
		{"corruption", "EtcdAlarms", "cluster", preflight.Blocking, []string{"CORRUPT"}, func(_ *testing.T, w *simulator.World) { w.Alarm("CORRUPT") }},
		{"another architecture", "EtcdHosts", "e2", preflight.Blocking, []string{"aarch64", "x86_64"}, root("e2", "echo aarch64 > /proc/sys/kernel/arch")},
		{"a host that is not there", "Login", "e3", preflight.Blocking, []string{"no route to host", "no other check"}, func(_ *testing.T, w *simulator.World) {
			w.Spec.Etcd.Hosts = slices.Clone(w.Spec.Etcd.Hosts)
			w.Spec.Etcd.Hosts[2].Address = "10.88.0.77"
		}},
	}
}

// TestFaults: each is found on its host, with its severity, and everything
// that is not fine has a reason and a remedy.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range slices.Concat(hostFaults(), networkFaults(), clusterFaults(), joinFaults(), fileFaults(), balancerFaults(), manifestFaults()) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := look(t, preflight.Options{}, f.arrange)
			found := false
			for _, x := range bad(r) {
				if x.Why == "" || x.Remedy == "" || len(x.Phases) == 0 {
					t.Errorf("it does not say why, what to do or for which phase: %+v", x)
				}
				if x.Check != f.check || x.Host != f.host {
					continue
				}
				found = true
				if x.Severity != f.severity {
					t.Errorf("it is %s, not %s: %s", x.Severity, f.severity, x.Seen)
				}
				for _, word := range f.words {
					if !strings.Contains(x.Seen+" "+x.Remedy, word) {
						t.Errorf("%q is not in: %s: %s", word, x.Seen, x.Remedy)
					}
				}
				if strings.Contains(x.Seen+x.Remedy, "secret") {
					t.Errorf("it tells a password: %s", x.Seen)
				}
			}
			if !found {
				t.Errorf("%s on %s was not found; what was: %+v", f.check, f.host, bad(r))
			}
		})
	}
}

// lateHosts take a while to connect to one of them.
type lateHosts struct {
	phases.Hosts
	late string
}

func (l lateHosts) Host(ctx context.Context, h cluster.Host) (remote.Host, error) {
	if h.Name == l.late {
		time.Sleep(time.Second)
	}
	return l.Hosts.Host(ctx, h)
}

// TestComparedWithALateNode: what differs from the first control-plane node is
// found, however much later than the others that one answers.
func TestComparedWithALateNode(t *testing.T) {
	t.Parallel()
	from := start(t)
	synctest.Test(t, func(t *testing.T) {
		w := from.World(t)
		defer w.Close()
		root("e2", "echo aarch64 > /proc/sys/kernel/arch")(t, w)
		env := phases.NewAccess(w.Spec, lateHosts{w, w.Spec.ControlPlane.First.Name})
		defer env.Close()
		r, err := preflight.Run(t.Context(), env, preflight.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(bad(r), func(x preflight.Result) bool { return x.Check == "EtcdHosts" && x.Host == "e2" }) {
			t.Errorf("another architecture was not found: %+v", bad(r))
		}
	})
}

// TestIgnore: by name in any letter case; a name that is none is refused.
func TestIgnore(t *testing.T) {
	t.Parallel()
	alarm := func(_ *testing.T, w *simulator.World) { w.Alarm("NOSPACE") }
	for _, ignore := range [][]string{{"etcdalarms"}, {"All"}} {
		r := look(t, preflight.Options{Ignore: ignore, LookOnly: true}, alarm)
		if len(r.Blocking()) != 0 {
			t.Errorf("--ignore %v leaves %+v", ignore, r.Blocking())
		}
		if !slices.ContainsFunc(r.Results, func(x preflight.Result) bool { return x.Check == "EtcdAlarms" && x.Ignored }) {
			t.Error("what is ignored is not told")
		}
	}
	if err := preflight.Validate([]string{"EtcdAlarms", "Swop"}); err == nil || !strings.Contains(err.Error(), "Swop") {
		t.Errorf("got %v", err)
	}
}

// TestPhase: only what a phase touches is looked at, and before a phase
// nothing is changed.
func TestPhase(t *testing.T) {
	t.Parallel()
	ops := 0
	r := look(t, preflight.Options{Phase: 1, LookOnly: true}, func(t *testing.T, w *simulator.World) {
		root("cp1", "rm /etc/kubernetes/pki/etcd/ca.key")(t, w) // matters for phase 2
		w.Hardware("e1", func(h *simulator.Hardware) { h.Skew = time.Hour })
		t.Cleanup(func() { ops = len(w.Faults.Ops()) })
	})
	for _, x := range bad(r) {
		t.Errorf("phase 1 does not care for %+v", x)
	}
	for _, h := range []string{"e1", "cp2"} {
		if slices.Contains(r.Hosts, h) {
			t.Errorf("phase 1 has looked at %s", h)
		}
	}
	if ops != 0 {
		t.Errorf("%d changes were made", ops)
	}
}

// TestNothingStays: what Ports makes is gone afterwards, and its own folder
// is what DiskSync removes: that of another look, at the same time, stays.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		if err := w.Root("e3", "mkdir -p /var/lib/.migrate-preflight.000001\necho zeros >/var/lib/.migrate-preflight.000001/wal"); err != nil {
			t.Fatal(err)
		}
		before := w.State()
		env := w.Connect()
		defer env.Close()
		if _, err := preflight.Run(t.Context(), env, preflight.Options{}); err != nil {
			t.Fatal(err)
		}
		after := w.State()
		for name, text := range after {
			if before[name] != text {
				t.Errorf("%s was %q and is %q", name, before[name], text)
			}
		}
		for name := range before {
			if _, there := after[name]; !there {
				t.Errorf("%s is gone", name)
			}
		}
	})
}

// TestInterrupted: an end of the context is an error, not a report.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := preflight.Run(ctx, env, preflight.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
