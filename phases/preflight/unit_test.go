package preflight

import (
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases/loadbalancer"
)

// TestDeclaration: numbers follow each other, names are unique, and every
// check says all that a reader needs.
func TestDeclaration(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for i, c := range Checks() {
		if c.Number != i+1 {
			t.Errorf("%s has number %d, not %d", c.Name, c.Number, i+1)
		}
		if names[c.Name] || c.Name == "" || c.Title == "" || c.Why == "" || c.Remedy == "" || len(c.On) == 0 {
			t.Errorf("check %d is incomplete or has another's name: %+v", c.Number, c)
		}
		names[c.Name] = true
		if (c.Look == nil) == (c.Try == nil) {
			t.Errorf("%s has to have either Look or Try", c.Name)
		}
		for _, w := range c.On {
			if len(w.Phases) == 0 {
				t.Errorf("%s matters for no phase on %s", c.Name, w.On)
			}
			for _, p := range w.Phases {
				if w.On != migrate.Once && (&inspection{options: Options{Phase: p}}).scoped(named(loginName), w.On) == nil {
					t.Errorf("%s looks at the %s for phase %d, and %s would not tell that one cannot be reached", c.Name, w.On, p, loginName)
				}
			}
		}
	}
}

func TestKnownBugs(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]Severity{
		"3.4.30": Blocking, "3.5.0": OK, "3.5.1": Blocking, "3.5.19": Blocking, "3.5.20": Warning, "3.5.24": Warning,
		"3.5.25": Warning, "3.5.26": Warning, "3.5.30": Warning, "3.5.31": OK, "3.5.35": OK,
		"3.6.0": Blocking, "3.6.3": Blocking, "3.6.4": Warning, "3.6.8": Warning, "3.6.12": OK, "3.7.0": OK,
	} {
		b, known, err := knownBug(version)
		got := OK
		if known {
			got = b.severity
		}
		if err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", version, got, err, want)
		}
	}
	if _, _, err := knownBug("newest"); err == nil {
		t.Error("no version was taken for one")
	}
}

func TestExcepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, noProxy string
		want          bool
	}{
		{"10.88.0.5", "", false},
		{"10.88.0.5", "localhost, 10.88.0.5", true},
		{"10.88.0.5", "10.88.0.0/16", true},
		{"10.89.0.5", "10.88.0.0/16", false},
		{"10.88.0.5", "*", true},
		{"10.88.0.5", "88.0.5", false},
		{"api.example.org", "example.org", true},
		{"api.example.org", ".example.org", true},
		{"api.example.org", "*.Example.org", true},
		{"api.example.org", "ample.org", false},
		{"api.example.org", "API.example.org", true},
	} {
		if got := excepted(c.host, c.noProxy); got != c.want {
			t.Errorf("%s with NO_PROXY=%s: %t", c.host, c.noProxy, got)
		}
	}
}

func TestFactsOfBareHosts(t *testing.T) {
	t.Parallel()
	f := &Facts{Free: map[string]int{}, Proxy: map[string]string{}}
	for _, name := range []string{"arch", "machine-id", "memory", "apiserver", "swap", "disk", "inotify", "addresses", "listening", "kubelet", "kubeadm", "runtime", "images", "manifests", "proxy", "resolve", "certificates", "certificate", "kubeconfig"} {
		f.take(name, "", "")
	}
	if len(f.Free) > 0 || f.Memory != 0 || len(f.Manifests)+len(f.Certificates)+len(f.Addresses)+len(f.Proxy) > 0 {
		t.Errorf("nothing was told, and it knows %+v", f)
	}
	f.take("listening", "", "LISTEN 0 4096 127.0.0.1:2380 0.0.0.0:*\nLISTEN 0 4096 *:6443 *:*\nLISTEN 0 4096 [::]:22 [::]:*")
	for port, want := range map[int]bool{2380: false, 6443: true, 22: true} {
		if f.listens("10.0.0.1", port) != want {
			t.Errorf("port %d: %t", port, !want)
		}
	}
}

func TestDDTook(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"2048 bytes (2.0 kB, 2.0 KiB) copied, 0.00123 s, 1.7 MB/s":  "0.00123",
		"2048 bytes (2.0KB) copied, 0.001234 seconds, 1.6MB/s":      "0.001234",
		"2048 bytes (2.0 kB, 2.0 KiB) copied, 7.2e-05 s, 28.4 MB/s": "7.2e-05",
	} {
		if m := ddTook.FindStringSubmatch(line); m == nil || m[1] != want {
			t.Errorf("%q: %v", line, m)
		}
	}
}

// TestFixName: only what is a command looks like one.
func TestFixName(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]loadbalancer.Meaning{
		"on w1: `sed -i X`":                                                       {Node: "w1", Fix: "sed -i X"},
		"on w1: `grep X`, or the same in DNS":                                     {Node: "w1", Fix: "grep X"},
		"on w1: /etc/hosts is right. Change DNS":                                  {Node: "w1", Fix: "/etc/hosts is right. Change DNS", Elsewhere: true},
		"write the load balancer's address, or a name for it, into spec.endpoint": {Node: "w1"},
	} {
		if got := fixName(Scene{}, m, ""); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
