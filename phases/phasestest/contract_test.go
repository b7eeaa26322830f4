package phasestest

import (
	"testing"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// bare is a world with one machine and no cluster.
func bare(t *testing.T) (*World, *Host) {
	w := &World{Faults: remotetest.NewFaults(), hosts: map[string]*Host{}, ctx: t.Context(),
		objects: &objects{items: map[objectKey]object{}}, shared: map[string]string{}, listeners: map[end]*listener{}}
	return w, w.newHost("h1", "10.88.0.1")
}

// TestContract holds the machines, shell included, to what every host is held
// to.
func TestContract(t *testing.T) {
	t.Parallel()
	remotetest.Contract(t, func(t *testing.T) remote.Host {
		_, h := bare(t)
		return h
	})
}

// TestShell runs scripts whose answers are known from real machines.
func TestShell(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, script, want string }{
		{"cut a field", `printf 'a b c\nd e\n' | awk '{print $2}'`, "b\ne\n"},
		{"awk with a condition", `printf '12 worker process\n9 worker process is shutting down\n' | awk '/worker process/ && !/shutting down/ {print $1}'`, "12\n"},
		{"sed keeps a group", `echo 'users:(("nginx",pid=5))' | sed -n 's/.*users:(("\([^"]*\)".*/\1/p'`, "nginx\n"},
		{"sed without -n", `printf 'a\nb\n' | sed 's/$/:1/'`, "a:1\nb:1\n"},
		{"grep counts nothing", `echo a | grep -c b || true`, "0\n"},
		{"grep takes either", `printf 'dnat to x\nDNAT --to y\nz\n' | grep -c -i 'dnat to\|DNAT --to'`, "2\n"},
		{"grep whole lines", `printf 'active\ninactive\n' | grep -cx active`, "1\n"},
		{"numbers sorted", `printf '10\n9\n' | sort -n | head -n 1`, "9\n"},
		{"a mask of modes", `umask 077; mkdir -p /a/b; echo x > /a/b/c; stat -c %a /a /a/b /a/b/c`, "700\n700\n600\n"},
		{"copies keep what they are told to", `echo x > /s; chmod 0640 /s; umask 022; cp -p /s /t; cp /s /u; stat -c %a /t /u`, "640\n640\n"},
		{"a link is followed", `echo x > /s; ln -s /s /l; cat /l; readlink /l`, "x\n/s\n"},
		{"moving replaces", `echo 1 > /s; echo 2 > /t; mv /t /s; cat /s; [ -e /t ] || echo gone`, "2\ngone\n"},
		{"tests", `[ -x /s ] || echo no; echo y > /s; chmod 755 /s; [ -x /s ] && echo yes; [ -d /usr/bin ] && echo dir`, "no\nyes\ndir\n"},
		{"an unknown program", `command -v nothing || echo none`, "none\n"},
		{"a user and his folder", `getent group etcd >/dev/null || groupadd etcd; id -u etcd >/dev/null 2>&1 && echo there; install -d -m 0700 -o etcd -g etcd /d; stat -c %U:%G:%a /d`, "there\netcd:etcd:700\n"},
		{"set -e ends it", `set -e; false; echo no`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, h := bare(t)
			out, err := h.Run(t.Context(), remote.Command{Script: test.script})
			if out != test.want || err != nil && test.name != "set -e ends it" {
				t.Errorf("got %q (%v), want %q", out, err, test.want)
			}
		})
	}
}

// TestNginxRefuses: what the real one refuses, this one must.
func TestNginxRefuses(t *testing.T) {
	t.Parallel()
	stream := "stream {\n upstream u {\n  server 10.0.0.1:6443;\n }\n server {\n  listen 6443;\n  proxy_pass u;\n }\n}\n"
	tests := []struct {
		name, file string
		module, ok bool
	}{
		{"a stream", stream, true, true},
		{"a stream without the module", stream, false, false},
		{"two streams", stream + stream, true, false},
		{"an open block", "stream {\n server {\n  listen 6443;\n", true, false},
		{"one brace too many", stream + "}\n", true, false},
		{"no such upstream", "stream {\n server {\n  listen 6443;\n  proxy_pass nobody;\n }\n}\n", true, false},
		{"an upstream without servers", "stream {\n upstream u {\n  least_conn;\n }\n}\n", true, false},
		{"a comment", "# stream {\n", true, true},
		{"an unknown word", "streem {\n}\n", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, h := bare(t)
			w.mu.Lock()
			installNginx(h)
			if test.module {
				installNginxStream(h)
			}
			h.put("/etc/nginx/modules-enabled/95-ours.conf", test.file, 0o644, "root:root")
			w.mu.Unlock()
			_, err := h.Run(t.Context(), remote.Cmd("nginx", "-t"))
			if (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
