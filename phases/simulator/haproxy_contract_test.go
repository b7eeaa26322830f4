package simulator

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/remote"
)

// sampleHAProxy is a configuration with both sockets, in a folder.
func sampleHAProxy(folder string, port int) string {
	return fmt.Sprintf(`global
    description a-name
    noreuseport
    stats socket %[1]s/admin.sock mode 600 level admin
    stats socket %[1]s/look.sock mode 600 level user

defaults
    mode tcp
    timeout connect 2s
    timeout check 1s
    timeout client 24h
    timeout server 24h
    option srvtcpka
    srvtcpka-cnt 3

frontend api
    bind 127.0.0.1:%[2]d
    default_backend api

backend api
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host kubernetes
    http-check expect status 200,401
    default-server inter 1s fall 2 rise 1
    server cp1 127.0.0.1:1
    server cp2 127.0.0.1:2 disabled
`, folder, port)
}

// TestHAProxyRefuses: what the real one refuses, this one does, and the other way
// round.
func TestHAProxyRefuses(t *testing.T) {
	t.Parallel()
	good := sampleHAProxy("/run/x", 6443)
	for _, test := range []struct {
		name, text string
		ok         bool
	}{
		{"the sample", good, true},
		{"an unknown word", strings.Replace(good, "noreuseport", "norreuseport", 1), false},
		{"a word of another section", strings.Replace(good, "    bind", "    server", 1), false},
		{"no such backend", strings.Replace(good, "default_backend api", "default_backend nobody", 1), false},
		{"the same server twice", good + "    server cp1 127.0.0.1:3\n", false},
		{"the same address twice", good + "    server cp3 127.0.0.1:2\n", true},
		{"a bind without a port", strings.Replace(good, "bind 127.0.0.1:6443", "bind 127.0.0.1", 1), false},
		{"a comment", good + "    # server cp1 127.0.0.1:3\n", true},
		{"a server that is disabled and checked", good + "    server cp3 127.0.0.1:3 check disabled\n", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, h := bare(t)
			w.mu.Lock()
			installHAProxy(h)
			w.mu.Unlock()
			_, err := h.Run(t.Context(), remote.Command{Script: "haproxy -c -f /dev/stdin", Stdin: []byte(test.text)})
			if (err == nil) != test.ok {
				t.Errorf("here: %v", err)
			}
			real := exec.CommandContext(t.Context(), realHAProxy(t), "-c", "-f", "/dev/stdin")
			real.Stdin = strings.NewReader(test.text)
			if out, err := real.CombinedOutput(); (err == nil) != test.ok {
				t.Errorf("the real one: %v: %s", err, out)
			}
		})
	}
}

func realHAProxy(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "socat"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: the real one is not asked", name)
		}
	}
	return "haproxy"
}

// TestHAProxySocket has the same conversation with both: what each answers to a
// command, and how the servers are then.
func TestHAProxySocket(t *testing.T) {
	t.Parallel()
	talk := func(t *testing.T, ask func(socket, command string) string) string {
		t.Helper()
		var out strings.Builder
		for _, c := range [][2]string{
			{"look", "show info"}, {"look", "show servers state api"},
			{"look", "set server api/cp2 state ready"}, {"look", "show servers state api"},
			{"admin", "set server api/cp2 state ready"}, {"admin", "set server api/cp2 state ready"}, {"look", "show servers state api"},
			{"admin", "set server api/cp1 state maint;set server api/cp2 state maint"}, {"look", "show servers state api"},
			{"admin", "set server api/cp9 state ready"}, {"admin", "shwo servers"},
		} {
			fmt.Fprintf(&out, "%s %q: %s\n", c[0], c[1], gist(ask(c[0], c[1])))
		}
		return out.String()
	}
	w, h := bare(t)
	w.mu.Lock()
	installHAProxy(h)
	h.put("/usr/bin/socat", "\x7fELF", 0o755, "root:root")
	h.put("/etc/sample.cfg", sampleHAProxy("/run/x", 6443), 0o644, "root:root")
	h.put(adminUnits+"/"+haproxyUnit, "[Service]\nExecStart=/usr/sbin/haproxy -Ws -f /etc/sample.cfg\n", 0o644, "root:root")
	w.mu.Unlock()
	script := func(script string) string {
		out, err := h.Run(t.Context(), remote.Command{Script: script})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	script("systemctl start " + haproxyUnit)
	here := talk(t, func(socket, command string) string {
		return script("printf '%s\\n' '" + command + "' | socat -t5 - UNIX-CONNECT:/run/x/" + socket + ".sock")
	})
	folder := startRealHAProxy(t)
	real := talk(t, func(socket, command string) string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\n' '"+command+"' | socat -t5 - UNIX-CONNECT:"+folder+"/"+socket+".sock").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	})
	if here != real {
		t.Errorf("here:\n%sthe real one:\n%s", here, real)
	}
	if !strings.Contains(here, "cp1=1 cp2=5") || !strings.Contains(here, "cp1=0 cp2=4") {
		t.Errorf("the conversation has not come to what it is for:\n%s", here)
	}
}

// startRealHAProxy returns the folder with its sockets.
func startRealHAProxy(t *testing.T) string {
	t.Helper()
	program := realHAProxy(t)
	folder := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:errcheck // a listener of TCP
	l.Close()
	file := filepath.Join(folder, "sample.cfg")
	if err := os.WriteFile(file, []byte(sampleHAProxy(folder, port)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), program, "-db", "-f", file)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = run.Process.Kill(), run.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", folder+"/look.sock")
		if err == nil {
			conn.Close()
			return folder
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// gist is what of an answer is looked at: the description, what was switched off, and
// otherwise its first line.
func gist(answer string) string {
	var servers []string
	column := map[string]int{}
	for line := range strings.Lines(answer) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "description: "):
			return strings.TrimSpace(line)
		case strings.HasPrefix(line, "# be_id"):
			for i, w := range words[1:] {
				column[w] = i
			}
		case len(column) > 0 && len(words) > 5:
			servers = append(servers, words[column["srv_name"]]+"="+words[column["srv_admin_state"]])
		}
	}
	if len(servers) > 0 {
		return strings.Join(servers, " ")
	}
	first, _, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	first, _, _ = strings.Cut(first, ",")
	return strings.TrimRight(strings.Replace(first, ": 'shwo servers'", "", 1), ".")
}
