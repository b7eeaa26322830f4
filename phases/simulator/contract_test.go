package simulator

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// bare is a world with one machine and no cluster.
func bare(t *testing.T) (*World, *Host) {
	w := &World{Faults: remotetest.NewFaults(), hosts: map[string]*Host{}, ctx: t.Context(), memo: &memo{},
		objects: &objects{items: map[objectKey]object{}}, shared: map[string]string{}, listeners: map[end]*listener{}}
	w.assemble()
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

// TestShell runs scripts in this shell and in the real /bin/sh, and wants the
// same from both. $D is an empty folder.
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
		{"the smallest number", `printf '10\n9\n' | sort -n | head -n 1`, "9\n"},
		{"the greatest number", `printf '10\n9\n' | sort -n | tail -n 1`, "10\n"},
		{"lines once", `printf 'b\na\nb\n' | sort -u | wc -l`, "2\n"},
		{"the head of a line", `echo abcdef | cut -c1-3`, "abc\n"},
		{"a checksum", `printf x | sha256sum`, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  -\n"},
		{"zeros to lines", `printf 'a\0b\0' | tr '\0' '\n'`, "a\nb\n"},
		{"a mask of modes", `umask 077; mkdir -p $D/a/b; echo x > $D/a/b/c; stat -c %a $D/a $D/a/b $D/a/b/c`, "700\n700\n600\n"},
		{"copies keep what they are told to", `umask 022; echo x > $D/s; chmod 0640 $D/s; cp -p $D/s $D/t; umask 077; cp $D/s $D/u; stat -c %a $D/t $D/u`, "640\n600\n"},
		{"a link is followed", `echo x > $D/s; ln -s $D/s $D/l; cat $D/l; [ "$(readlink $D/l)" = $D/s ] && echo same`, "x\nsame\n"},
		{"no link over a file", `echo x > $D/s; ln -s /nowhere $D/s 2>/dev/null || echo refused`, "refused\n"},
		{"moving replaces", `echo 1 > $D/s; echo 2 > $D/t; mv $D/t $D/s; cat $D/s; [ -e $D/t ] || echo gone`, "2\ngone\n"},
		{"a folder stays", `mkdir $D/f; rm $D/f 2>/dev/null || echo refused; rm -rf $D/f $D/f; [ -e $D/f ] || echo gone`, "refused\ngone\n"},
		{"tests", `[ -x $D/s ] || echo no; echo y > $D/s; chmod 755 $D/s; [ -x $D/s ] && echo yes; [ -d $D ] && echo dir`, "no\nyes\ndir\n"},
		{"an unknown program", `command -v no-such-program || echo none`, "none\n"},
		{"a known program", `command -v cat sed >/dev/null && echo there`, "there\n"},
		{"files of a folder", `mkdir -p $D/x/y; echo 1 > $D/x/a; echo 2 > $D/x/y/b; find $D/x -type f | sort | sed 's/.*x.//'; ls $D/x`, "a\ny/b\na\ny\n"},
		{"folders with a mode", `install -d -m 0700 -o root -g root $D/p $D/p/q; stat -c %U:%G:%a $D/p $D/p/q`, "root:root:700\nroot:root:700\n"},
		{"no such file", `stat -c %a $D/none 2>/dev/null || echo none`, "none\n"},
		{"a file is itself", `echo 1 > $D/a; s=$(stat -L -c '%d %i %s %y %z' $D/a); [ "$s" = "$(stat -L -c '%d %i %s %y %z' $D/a)" ] && echo same`, "same\n"},
		{"another file is another", `echo 1 > $D/a; s=$(stat -L -c '%d %i %s %y %z' $D/a); echo 2 > $D/b; mv $D/b $D/a; [ "$s" = "$(stat -L -c '%d %i %s %y %z' $D/a)" ] || echo other`, "other\n"},
		{"relative paths", `cd $D; echo x > f; [ ! -e f ] || cat f; ls`, "x\nf\n"},
		{"set -e ends it", `set -e; false; echo no`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, h := bare(t)
			h.Folder("/d")
			out, err := h.Run(t.Context(), remote.Command{Script: "D=/d; " + test.script})
			if out != test.want || (err != nil) != strings.HasPrefix(test.script, "set -e") {
				t.Errorf("here: got %q (%v), want %q", out, err, test.want)
			}
			if strings.Contains(test.script, "-o root") && os.Geteuid() != 0 {
				t.Skip("giving files away takes root")
			}
			command := exec.CommandContext(t.Context(), "/bin/sh", "-c", "D="+t.TempDir()+"; "+test.script)
			command.Env = append(os.Environ(), "LC_ALL=C")
			real, err := command.Output()
			if string(real) != test.want || (err != nil) != strings.HasPrefix(test.script, "set -e") {
				t.Errorf("the real one: got %q (%v), want %q", real, err, test.want)
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
			if err := installNginx(h); err != nil {
				t.Fatal(err)
			}
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
