package sshhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
)

// sudoLooks allows what `migrate sudoers --read-only` prints, as far as these
// tests ask for it: setpriv, and ss with -Htnp. The %s is what more it allows
// with a password.
const sudoLooks = `l=
[ "$1" = -n ] && shift || { echo "sudo: a password is required" >&2; exit 1; }
[ "$1" != -l ] || { l=1; shift; }
shift
case "$1" in
/usr/bin/setpriv) while [ "$1" != -- ]; do shift; done; shift; FAKE_LOOK=1 exec "$@" ;;
ss) [ -z "$l" ] || exit 0; echo "root saw $*" ;;
%s
*) echo "sudo: a password is required" >&2; exit 1 ;;
esac`

func looksOnlyServer(t *testing.T, more string) *server {
	t.Helper()
	s := newServer(t)
	s.fakeUser("1000", fmt.Sprintf(sudoLooks, more))
	for _, name := range []string{"ss", "nft"} {
		file := filepath.Join(s.home, "bin", name)
		writeFile(t, file, "#!/bin/sh\necho \"user saw "+name+" $*\"\n")
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A login that may only look looks, with the programs that sudo allows, and
// changes nothing: what would is not even sent.
func TestLooksOnly(t *testing.T) {
	t.Parallel()
	s := looksOnlyServer(t, "")
	h := s.dial()
	if h.become != becomeLook {
		t.Fatalf("become is %s", h.become)
	}
	for script, want := range map[string]string{
		"echo $FAKE_LOOK":            "1",
		"ss -Hltn":                   "user saw ss -Hltn",
		"ss -Htnp state established": "root saw ss -Htnp state established",
	} {
		if out, err := h.Look(t.Context(), remote.Command{Script: script}); err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%s: %q, %v, want %q", script, out, err, want)
		}
	}
	if f, err := h.ReadFile(t.Context(), filepath.Join(s.home, "bin", "ss")); err != nil || len(f.Data) == 0 {
		t.Errorf("reading a file: %v", err)
	}
	mark := filepath.Join(s.home, "changed")
	file := remote.File{Path: mark, Data: []byte("x")}
	for what, do := range map[string]func(context.Context) error{
		"Run": func(ctx context.Context) error {
			_, err := h.Run(ctx, remote.Command{Script: "touch " + mark})
			return err
		},
		"Detach": func(ctx context.Context) error {
			_, err := h.Run(ctx, remote.Command{Script: "touch " + mark, Detach: "x"})
			return err
		},
		"WriteFile": func(ctx context.Context) error { return h.WriteFile(ctx, file) },
		"Remove":    func(ctx context.Context) error { return h.Remove(ctx, filepath.Join(s.home, "bin", "ss")) },
		"Rename":    func(ctx context.Context) error { return h.Rename(ctx, filepath.Join(s.home, "bin", "ss"), mark) },
		"MayChange": h.MayChange,
	} {
		var looksOnly *remote.LooksOnlyError
		err := do(t.Context())
		if !errors.As(err, &looksOnly) || !strings.Contains(err.Error(), "user ops on cp1 may only look: allow changes with\n  migrate sudoers --host cp1 | ssh -p ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("something was changed")
	}
}

// What is proposed is about the same cluster, and goes the way that we went; where
// there is no spec, it does not name a host of one.
func TestAllowGoesTheSameWay(t *testing.T) {
	t.Parallel()
	c := &userConfig{home: t.TempDir()}
	o := Options{Given: " --file 'my cluster.yaml' --journal j", Jump: "jump@192.0.2.9:2200"}
	h := cluster.Host{Name: "cp2", Address: "192.0.2.12", SSH: cluster.SSH{User: "ops", Port: 2222, IdentityFile: "/my keys/id"}}
	to, err := resolve(h, o, c)
	if err != nil {
		t.Fatal(err)
	}
	const login = " | ssh -p 2222 -i '/my keys/id' -J jump@192.0.2.9:2200 root@192.0.2.12 'umask "
	for option, want := range map[string]string{
		"":             "migrate sudoers --file 'my cluster.yaml' --journal j --host cp2" + login,
		" --read-only": "migrate sudoers --file 'my cluster.yaml' --journal j --host cp2 --read-only" + login,
	} {
		if got := to.allow(option); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", option, got, want)
		}
	}
	o.NoSpec = true
	if to, err = resolve(h, o, c); err != nil || !strings.HasPrefix(to.allow(" --read-only"), "migrate sudoers ops@192.0.2.12 | ssh ") {
		t.Errorf("without a spec: %s, %v", to.allow(" --read-only"), err)
	}
}

// What is shown has the command in a line that can be pasted, however the error is
// wrapped.
func TestAllowCanBePasted(t *testing.T) {
	t.Parallel()
	for what, err := range map[string]error{
		"a change": target{name: "cp1", user: "ops", address: "192.0.2.11:22"}.looksOnly(),
		"a look":   target{name: "cp1", user: "ops", address: "192.0.2.11:22"}.refused("nft list\x1b table"),
	} {
		_, command := remote.Allowing(err)
		shown := string(show.Error(fmt.Errorf("phase 1: %w; and %w", fmt.Errorf("cp1: reading: %w", err), errors.New("more"))))
		if !strings.HasPrefix(command, "migrate sudoers --host cp1") || !strings.Contains(shown, "\n  "+command) || strings.ContainsAny(shown, "\x1b") || strings.Contains(shown, show.Continued) {
			t.Errorf("%s: %s is shown as: %s", what, command, shown)
		}
	}
}

// What sudo refuses is not taken for what is not there.
func TestLookThatSudoRefuses(t *testing.T) {
	t.Parallel()
	h := looksOnlyServer(t, "").dial()
	out, err := h.Look(t.Context(), remote.Command{Script: "nft list table ip migrate_overlap >/dev/null 2>&1 && echo there || echo absent"})
	if err == nil {
		t.Fatalf("it is taken for %q", out)
	}
	wantSentence(t, errors.Unwrap(err), ErrPrivilege, "not seen, because sudo on cp1 refuses user ops", "`nft list table ip migrate_overlap`", "\n  migrate sudoers --host cp1 --read-only | ssh -p ")
}

// Where sudo gives all rights for a password, and somebody can be asked for it,
// the login is no less than it was.
func TestPasswordBeforeLooks(t *testing.T) {
	t.Parallel()
	s := looksOnlyServer(t, `sh) [ -n "$l" ] && exit 0; echo "sudo: a password is required" >&2; exit 1 ;;`)
	if h := s.dial(); h.become != becomeLook {
		t.Errorf("with nobody to ask, become is %s", h.become)
	}
	p := &person{answers: []string{"wrong", "wrong", "wrong"}}
	o := s.options()
	o.Ask = p.ask
	if _, err := Dial(t.Context(), s.host(), o); !errors.Is(err, ErrPrivilege) || len(p.asked) == 0 {
		t.Errorf("asked %q: %v", p.asked, err)
	}
	p.asked = nil
	s = looksOnlyServer(t, "")
	o = s.options()
	o.Ask = p.ask
	if h := s.dialWith(s.host(), o); h.become != becomeLook || len(p.asked) > 0 {
		t.Errorf("sudo takes no password, become is %s, asked %q", h.become, p.asked)
	}
}
