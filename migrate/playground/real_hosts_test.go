//go:build playground

package playground

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestHostsThatEndByThemselves boots two hosts, of both Debians and without a
// cluster, and has them reboot, switch themselves off, and lose their
// systemd-nspawn. It takes half a minute.
func TestHostsThatEndByThemselves(t *testing.T) {
	o := Options{Name: fmt.Sprintf("test-%d-hosts", os.Getpid()), Profile: ProfileVeteran, Workers: -1}
	full, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := playgroundDir(o.Dir, o.Name)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayground(dir, state{Options: full, Slot: -1}, tell(t))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	down := func() {
		if err := p.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { _ = p.Down(t.Context()) })
	artifacts, store, err := p.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.startNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := p.hosts
	p.hosts = nil
	for _, h := range all {
		if h.Name == "lb1" || h.Name == "cp2" {
			p.hosts = append(p.hosts, h)
		}
	}
	if err := p.makeHosts(t.Context(), artifacts, store); err != nil {
		t.Fatal(err)
	}
	for _, h := range p.hosts {
		if err := p.startHost(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		t.Run(h.Name, func(t *testing.T) { endsByItself(t, p, h) })
	}
	down()
	mustBeGone(t, o, p.state.Slot)
}

func endsByItself(t *testing.T, p *Playground, h Host) {
	const id = "cat /proc/1/stat | cut -d' ' -f22; . /etc/os-release; echo $VERSION_CODENAME; test ! -e /etc/systemd/system/cri-dockerd.socket || test -S /run/cri-dockerd.sock"
	look := func() string {
		t.Helper()
		out, err := p.exec(t.Context(), h, "", id)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	release := debianRelease
	if newer(h) {
		release = newerRelease
	}
	was := look()
	if !strings.Contains(was, release) {
		t.Errorf("%s has %q, not %s", h.Name, was, release)
	}
	// By a unit of the host's own: a process that came in from outside is
	// stopped by the shutdown (systemd's broadcast_signal), with it the nsenter
	// that holds it, which then never takes note of its end, and the host never
	// ends.
	ask := func(what string) {
		t.Helper()
		if _, err := p.exec(t.Context(), h, "", "systemd-run --no-block --quiet systemctl "+what); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		_, leader := p.processes(h)
		ask("reboot")
		awaitReboot(t, p, h, leader)
		look()
	}

	ask("poweroff")
	gone := func() (bool, error) { return !p.alive(h), nil }
	if err := poll(t.Context(), time.Minute, h.Name+" to switch itself off", gone); err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		if err := p.StartHost(t.Context(), h.Name); err != nil {
			t.Fatal(err)
		}
		look()
	}
	start()

	killContainer(t, p, h)
	if !p.alive(h) {
		t.Logf("%s ended with its systemd-nspawn: nothing was left to end", h.Name)
	}
	start()
	killContainer(t, p, h) // for Down to find
}

// awaitReboot waits until the host has another leading process and answers.
func awaitReboot(t *testing.T, p *Playground, h Host, leader int) {
	t.Helper()
	if err := poll(t.Context(), bootTimeout, "the reboot", func() (bool, error) {
		if !p.running(h) {
			return false, fmt.Errorf("%s is off after a reboot", h.Name)
		}
		_, now := p.processes(h)
		return now != 0 && now != leader && sshAnswers(t.Context(), h) == nil, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// killContainer ends the host's systemd-nspawn with SIGKILL.
func killContainer(t *testing.T, p *Playground, h Host) {
	t.Helper()
	holders, _ := p.processes(h)
	for _, pid := range holders {
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(args), "systemd-nspawn") {
			if err := kill(pid); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := poll(t.Context(), time.Minute, "nspawn to be gone", func() (bool, error) { return !p.running(h), nil }); err != nil {
		t.Fatal(err)
	}
}
