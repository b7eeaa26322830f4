package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// serviceAddress is where pods find the API: the first address of kubeadm's
// default service subnet.
const serviceAddress = "10.96.0.1"

// Bounds of the playground's commands. Making one takes half a minute, and up
// to 20 minutes where everything is built first.
const (
	upLimit   = 22 * time.Minute
	downLimit = 2 * time.Minute
)

// playground is the practice cluster, known by the files that `playground up`
// leaves and by what `playground status` says.
type playground struct {
	name, dir string
	spec      spec
	hosts     map[string]host
	bin       *binary
	sudo      bool
}

// spec is what this test needs of the spec file.
type spec struct {
	Spec struct {
		Endpoint     string `json:"endpoint"`
		ControlPlane struct {
			Join struct {
				Patches               string   `json:"patches"`
				IgnorePreflightErrors []string `json:"ignorePreflightErrors"`
			} `json:"join"`
		} `json:"controlPlane"`
	} `json:"spec"`
}

func (p *playground) file(name string) string { return filepath.Join(p.dir, name) }
func (p *playground) specFile() string        { return p.file("migrate.yaml") }

// endpoint is the control-plane endpoint as host:port.
func (p *playground) endpoint() string { return p.spec.Spec.Endpoint }

// api is the API server of one host as host:port.
func (p *playground) api(name string) string { return p.address(name) + ":6443" }

func (p *playground) address(name string) string { return p.hosts[name].address }

// upArgs make the scenario's playground: an old production cluster, with
// everything at once that others were found with.
func upArgs(c config) []string {
	args := []string{"playground", "up", "--name", c.name, "--kubernetes", c.kubernetes, "--profile", "veteran", "--spare"}
	if c.sudo {
		args = append(args, "--sudo-user", sudoUser)
	}
	return args
}

// playgroundUp makes the playground. One of an earlier test that was stopped
// is removed first: its cluster may be migrated already.
func playgroundUp(t *testing.T, c config, b *binary) *playground {
	t.Helper()
	if b.run(t, attemptTimeout, "playground", "status", "--name", c.name).code == 0 {
		b.must(t, 0, downLimit, "playground", "down", "--name", c.name)
	}
	b.must(t, 0, upLimit, upArgs(c)...)
	return openPlayground(t, c, b)
}

// openPlayground reads the files of a playground that is up.
func openPlayground(t *testing.T, c config, b *binary) *playground {
	t.Helper()
	p := &playground{name: c.name, bin: b, sudo: c.sudo, hosts: map[string]host{}}
	var status struct {
		Dir      string `json:"dir"`
		Complete bool   `json:"complete"`
		Hosts    []struct {
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"hosts"`
	}
	r := b.must(t, 0, attemptTimeout, "playground", "status", "--name", c.name, "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &status); err != nil {
		t.Fatalf("reading playground status -o json: %v\n%s", err, r.stdout)
	}
	if !status.Complete {
		t.Fatal("playground up has ended, and playground status says that it is not complete")
	}
	p.dir = status.Dir
	for _, h := range status.Hosts {
		p.hosts[h.Name] = newHost(t, p, h.Name, h.Address)
	}
	data, err := os.ReadFile(p.specFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &p.spec); err != nil {
		t.Fatalf("reading the spec file that playground up wrote: %v", err)
	}
	return p
}

// stop cuts a host's power, start switches it on again.
func (p *playground) stop(t *testing.T, name string) {
	t.Helper()
	p.bin.must(t, 0, time.Minute, "playground", "stop", "--name", p.name, name)
}

func (p *playground) start(t *testing.T, name string) {
	t.Helper()
	p.bin.must(t, 0, 3*time.Minute, "playground", "start", "--name", p.name, name)
}

// leftovers are the traces of a playground on this machine.
type leftovers struct {
	dir  string
	link net.Interface // this machine's, into the playground
}

// traces notes what would show that a playground is still there.
func (p *playground) traces(t *testing.T) leftovers {
	t.Helper()
	l := leftovers{dir: p.dir, link: linkInto(t, p.address("lb1"))}
	if found := l.processes(t); len(found) == 0 {
		t.Fatalf("no process of the playground in %s was found while it is up: the search is wrong", p.dir)
	}
	return l
}

// check says what of the playground is still on this machine.
func (l leftovers) check(t *testing.T) {
	t.Helper()
	for _, p := range l.processes(t) {
		t.Errorf("playground down left a process: %s", p)
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/swaps"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, l.dir+"/") || strings.Contains(line, filepath.Base(l.dir)+"-") && strings.Contains(line, "netns") {
				t.Errorf("playground down left a mount: %s", line)
			}
		}
	}
	// By its index: another playground may have the name by now.
	if _, err := net.InterfaceByIndex(l.link.Index); err == nil {
		t.Errorf("playground down left the link %s", l.link.Name)
	}
	if _, err := os.Stat(l.dir); err == nil {
		t.Errorf("playground down left the folder %s", l.dir)
	}
	for _, dir := range []string{"/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, err := filepath.Glob(dir + "/migrate-" + filepath.Base(l.dir) + "-*")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			t.Errorf("playground down left %s", strings.Join(found, ", "))
		}
	}
}

// processes lists those that run in or for the playground: by their
// arguments, or because their root is in its folder.
func (l leftovers) processes(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range dirs {
		args, err := os.ReadFile(d + "/cmdline")
		if err != nil || filepath.Base(d) == fmt.Sprint(os.Getpid()) {
			continue // it has ended, or it is this test
		}
		mounts, err := os.ReadFile(d + "/mountinfo")
		if err != nil {
			continue
		}
		if strings.Contains(string(args), l.dir+"/") || strings.Contains(string(mounts), "upperdir="+l.dir+"/") {
			found = append(found, filepath.Base(d)+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}
