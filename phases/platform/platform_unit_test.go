package platform

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachFamilyIsWhole: a host of any family gets a script, the command of a
// person, and the names of nginx's parts.
func TestEachFamilyIsWhole(t *testing.T) {
	t.Parallel()
	for _, f := range Families() {
		p := Packages{Program: "nginx", With: f.NginxStream}
		if f.Name == "" || f.Manager == "" || f.NginxStream == "" || f.NginxModules == "" {
			t.Errorf("%+v lacks a name", f)
		}
		for _, text := range []string{f.Install(p), f.ByHand(p)} {
			if !strings.Contains(text, f.Manager) || !strings.Contains(text, p.With) {
				t.Errorf("%s installs by %q", f.Name, text)
			}
		}
		if found, ok := Named("/usr/bin/" + f.Manager); !ok || found.Name != f.Name {
			t.Errorf("%s is told as %q", f.Manager, found.Name)
		}
	}
	if f, ok := Named("/usr/bin/zypper"); ok {
		t.Errorf("zypper is of %s", f.Name)
	}
}

// TestChooseByWhatIsThere runs the script in a real shell.
func TestChooseByWhatIsThere(t *testing.T) {
	t.Parallel()
	script := Choose(func(f Family) string { return "echo " + f.Manager }, "echo none")
	for _, there := range []string{"apt-get", "dnf", "none"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, there), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		shell := exec.Command("/bin/sh", "-c", script)
		shell.Env = []string{"PATH=" + dir}
		if out, err := shell.Output(); err != nil || strings.TrimSpace(string(out)) != there {
			t.Errorf("with %s it is %q (%v)", there, out, err)
		}
	}
}

func TestMayListenOnPort(t *testing.T) {
	t.Parallel()
	c := Confined{Ports: "http_port_t                    tcp      80, 443, 8000-8009"}
	for port, want := range map[int]bool{80: true, 443: true, 8000: true, 8009: true, 8010: false, 6443: false, 44: false} {
		if c.May(port) != want {
			t.Errorf("port %d: %t", port, !want)
		}
	}
}
