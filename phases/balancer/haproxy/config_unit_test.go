package haproxy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func sample(on ...string) Config {
	c := Config{Port: 6443, Servers: []Server{{Name: "cp1", Address: "10.0.0.11:6443"}, {Name: "cp2.example.net", Address: "10.0.0.12:6443"}, {Name: "cp3", Address: "10.0.0.13:6443"}}}
	for i := range c.Servers {
		c.Servers[i].On = slices.Contains(on, c.Servers[i].Name)
	}
	return c
}

// TestServersAreReadAsTheyWereWritten, whatever is switched off.
func TestServersAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, on := range [][]string{nil, {"cp1"}, {"cp1", "cp3"}, {"cp1", "cp2.example.net", "cp3"}} {
		c := sample(on...)
		if got := Servers(c.Render()); !slices.Equal(got, c.Servers) {
			t.Errorf("written %v, read %v", c.Servers, got)
		}
	}
	byHand := "backend x\n  server cp1  10.0.0.11:6443 check inter 5s disabled\n\tserver cp2 10.0.0.12:6443 weight 2\n# server cp3 10.0.0.13:6443\n"
	want := []Server{{"cp1", "10.0.0.11:6443", false}, {"cp2", "10.0.0.12:6443", true}}
	if got := Servers(byHand); !slices.Equal(got, want) {
		t.Errorf("of somebody's file %v was read", got)
	}
}

// TestDescription: a process is not to be reloaded for what its socket can do, and has
// to be for all else.
func TestDescription(t *testing.T) {
	t.Parallel()
	one := sample("cp1")
	if one.description() != sample("cp1", "cp2.example.net", "cp3").description() {
		t.Error("what is switched off changes the description")
	}
	port, address := sample("cp1"), sample("cp1")
	port.Port, address.Servers[2].Address = 7443, "10.0.0.14:6443"
	for what, other := range map[string]Config{"port": port, "address": address} {
		if other.description() == one.description() {
			t.Errorf("with another %s the description is the same", what)
		}
	}
	if !strings.Contains(one.Render(), "    description "+one.description()+"\n") {
		t.Errorf("the file lacks the description:\n%s", one.Render())
	}
}

// TestHAProxyTakesIt asks the real one, where there is one.
func TestHAProxyTakesIt(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("haproxy is not installed")
	}
	run := exec.CommandContext(t.Context(), "haproxy", "-c", "-f", "/dev/stdin")
	run.Stdin = strings.NewReader(sample("cp1").Render())
	if out, err := run.CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("%v: %s", err, out)
	}
}

// answer is what HAProxy 2.6.12 answered to lookScript: cp2 was disabled in the file
// and switched on, cp3 is disabled, cp4 drains, the other one is of another proxy.
const answer = `Name: HAProxy
Version: 2.6.12-1+deb12u4
Pid: 8740
description: migrate-kube-apiserver-0123456789ab

1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 kube-apiserver 1 cp1 10.0.0.11 0 0 1 1 2 15 3 2 6 0 0 0 - 6443 - 0 0 - - 0
3 kube-apiserver 2 cp2 10.0.0.12 2 4 1 1 0 1 0 1 6 0 0 0 - 6443 - 0 0 - - 0
3 kube-apiserver 3 cp3 10.0.0.13 0 5 1 1 2 1 0 0 14 0 0 0 - 6443 - 0 0 - - 0
3 kube-apiserver 4 cp4 10.0.0.14 2 8 1 1 2 1 0 0 14 0 0 0 - 6443 - 0 0 - - 0
4 other 1 cp1 10.0.0.15 2 0 1 1 2 1 0 0 14 0 0 0 - 6443 - 0 0 - - 0
`

// TestWhatTheRunningProcessSays: one that is down by its checks is still on.
func TestWhatTheRunningProcessSays(t *testing.T) {
	t.Parallel()
	r := parseRunning(answer)
	if !r.answers || r.description != "migrate-kube-apiserver-0123456789ab" {
		t.Errorf("read %+v", r)
	}
	if got := on(r.servers); len(r.servers) != 4 || !slices.Equal(got, []string{"10.0.0.11:6443", "10.0.0.12:6443"}) {
		t.Errorf("%v are on, of %v", got, r.servers)
	}
	if none := parseRunning(""); none.answers || len(none.servers) > 0 {
		t.Errorf("of nothing %+v was read", none)
	}
}

// FuzzRunning: whatever a host says, no server is made of it that it did not name.
func FuzzRunning(f *testing.F) {
	f.Add(answer)
	f.Add("# be_id be_name srv_name srv_admin_state\nkube-apiserver kube-apiserver")
	f.Add("# be_id\n\n# be_id be_name srv_id\n3 kube-apiserver 1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parseRunning(text).servers {
			if !strings.Contains(text, s.Name) {
				t.Errorf("%q is not in %q", s.Name, text)
			}
		}
		for _, s := range Servers(text) {
			if !strings.Contains(text, s.Name) || !strings.Contains(text, s.Address) {
				t.Errorf("%+v is not in %q", s, text)
			}
		}
	})
}
