package sshhost

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// lasting is quickly for a host whose silence is remembered for as long as the
// test takes.
func lasting(h *Host) *Host {
	quickly(h).target.limits.pause = time.Hour
	h.silence.limits.pause = time.Hour
	return h
}

// newHostOf is the host of a pool that nobody has logged in to.
func newHostOf(t *testing.T, s *server) (*Pool, *Host) {
	t.Helper()
	pool := NewPool(s.options())
	t.Cleanup(func() { pool.Close() })
	h, err := pool.host(s.host())
	if err != nil {
		t.Fatal(err)
	}
	return pool, lasting(h)
}

// changes are all that is done to a host, a login for it among them.
func changes(t *testing.T, h *Host) {
	t.Helper()
	file := t.TempDir() + "/x"
	for what, do := range map[string]func() error{
		"Run":    func() error { _, err := h.Run(t.Context(), remote.Cmd("true")); return err },
		"Detach": func() error { _, err := h.Run(t.Context(), remote.Command{Script: "true", Detach: "x"}); return err },
		"Await":  func() error { return h.AwaitDetached(t.Context()) },
		"WriteFile": func() error {
			return h.WriteFile(t.Context(), remote.File{Path: file, Data: []byte("x"), Owner: owner()})
		},
		"Remove": func() error { return h.Remove(t.Context(), file) },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAChangeIsTriedAfterALoginInVain, where a look is told of that at once.
func TestAChangeIsTriedAfterALoginInVain(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(context.Context, *Pool, *server, *Host) error{
		"a command": func(ctx context.Context, _ *Pool, _ *server, h *Host) error {
			_, err := h.Run(ctx, remote.Cmd("true"))
			return err
		},
		"a detached command": func(ctx context.Context, _ *Pool, _ *server, h *Host) error {
			_, err := h.Run(ctx, remote.Command{Script: "true", Detach: "x"})
			return err
		},
		"a login": func(ctx context.Context, p *Pool, s *server, _ *Host) error {
			_, err := p.Host(remote.Changing(ctx), s.host())
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.hang()
			pool, h := newHostOf(t, s)
			for range 2 {
				if _, err := pool.Host(t.Context(), s.host()); !errors.Is(err, ErrSilent) {
					t.Fatalf("got %v", err)
				}
			}
			s.set(func() { s.hostile = nil })
			h.target.limits.login = 20 * time.Second
			if _, err := h.Look(t.Context(), remote.Cmd("true")); !errors.Is(err, ErrSilent) {
				t.Errorf("a look: %v", err)
			}
			if err := change(t.Context(), pool, s, h); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAChangeIsTriedBehindASilentBastion, which was not logged in to in time.
func TestAChangeIsTriedBehindASilentBastion(t *testing.T) {
	t.Parallel()
	bastion, hosts := behind(t, 1)
	silent := true
	bastion.set(func() {
		bastion.greet = func(net.Conn) {
			if get(bastion, &silent) {
				<-bastion.closed
			}
		}
	})
	pool := NewPool(bastion.options())
	t.Cleanup(func() { pool.Close() })
	c := called(hosts[0], "cp1")
	h, err := pool.host(c)
	if err != nil {
		t.Fatal(err)
	}
	lasting(h).target.via.limits, h.target.via.timeout = h.target.limits, 300*time.Millisecond
	for range 2 {
		if _, err := pool.Host(t.Context(), c); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
	}
	j := pool.shared.jump(*h.target.via)
	j.target.timeout, h.target.limits.login = 20*time.Second, 20*time.Second
	bastion.set(func() { silent = false })
	h.failed = failure{}
	if _, err := h.Look(t.Context(), remote.Cmd("true")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a look: %v", err)
	}
	if _, err := h.Run(t.Context(), remote.Cmd("true")); err != nil {
		t.Error(err)
	}
}

// TestALostHostIsDialedAnew, whatever became of the dial before: it may be
// restarting, and what is undone then begins with a look.
func TestALostHostIsDialedAnew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := lasting(s.dial())
	h.target.reconnect = 300 * time.Millisecond
	s.set(func() { s.refuse = 1 << 30 })
	s.cut()
	if _, err := h.Look(t.Context(), remote.Cmd("true")); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	s.set(func() { s.refuse = 0 })
	h.silence.limits.look, h.target.limits.look = time.Minute, time.Minute
	if _, err := h.Look(t.Context(), remote.Cmd("true")); err != nil {
		t.Error(err)
	}
	changes(t, h)
}

// TestALoginGivenUpEarlyIsNotRemembered: whoever asked had less time than a login
// may take, and the next one may have more.
func TestALoginGivenUpEarlyIsNotRemembered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hang()
	pool, h := newHostOf(t, s)
	h.target.limits.login = time.Minute
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := pool.Host(short, s.host()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	s.set(func() { s.hostile = nil })
	if _, err := pool.Host(t.Context(), s.host()); err != nil {
		t.Error(err)
	}
}

// TestAChangeDialsASilentWay, and asks a host that has left two of its questions
// unanswered. A look is told at once.
func TestAChangeDialsASilentWay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := lasting(s.dial())
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	dial := func(ctx context.Context) error {
		c, err := h.DialContext(ctx, "tcp", listen.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	s.set(func() { s.noWay = true })
	for range 2 {
		if err := dial(t.Context()); !errors.Is(err, ErrSilent) {
			t.Fatalf("got %v", err)
		}
	}
	s.set(func() { s.noWay = false })
	h.target.limits = usualLimits()
	if err := dial(t.Context()); !errors.Is(err, ErrSilent) {
		t.Errorf("a look: %v", err)
	}
	if err := dial(remote.Changing(t.Context())); err != nil {
		t.Errorf("a change: %v", err)
	}
	if err := dial(t.Context()); err != nil {
		t.Errorf("a look after it was answered: %v", err)
	}
	for _, quiet := range []*silence{h.silence, h.way("detached commands")} {
		quiet.misses, quiet.missed, quiet.limits.pause = 2, time.Now(), time.Hour
	}
	changes(t, h)
}

// big prints more than a look may without waiting for others.
const big = "head -c 2000000 /dev/zero"

// TestTheTurnOfBigOutputs is no time in which the host is waited for; and what a
// change prints waits for no look.
func TestTheTurnOfBigOutputs(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	h.target.limits.look = 3 * time.Second // the machine may be busy
	h.live.big <- struct{}{}
	for _, change := range []remote.Command{{Script: big}, {Script: big, Detach: "x"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if out, err := h.Run(ctx, change); err != nil || len(out) != 2000000 {
			t.Errorf("a change: %d bytes, %v", len(out), err)
		}
		cancel()
	}
	time.AfterFunc(2*h.target.limits.look, func() { <-h.live.big })
	if out, err := h.Look(t.Context(), remote.Command{Script: big}); err != nil || len(out) != 2000000 {
		t.Errorf("a look that had to wait for another one: %d bytes, %v", len(out), err)
	}
}

// TestRefusalBeforeMore: any amount that a look writes after sudo refused it
// something leaves it refused.
func TestRefusalBeforeMore(t *testing.T) {
	t.Parallel()
	h := looksOnlyServer(t, "").dial()
	out, err := h.Look(t.Context(), remote.Command{Script: "nft list table ip migrate_overlap >/dev/null 2>&1 || echo absent; head -c 100000 /dev/zero | tr '\\0' x >&2"})
	if err == nil {
		t.Fatalf("it is taken for %q", out)
	}
	wantSentence(t, errors.Unwrap(err), ErrPrivilege, "not seen, because sudo on cp1 refuses user ops", "`nft list table ip migrate_overlap`")
}

// TestTheMarkIsNotedAsItPasses, in however many pieces.
func TestTheMarkIsNotedAsItPasses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"warning\n" + rights.Refused + "ss -p\nmore\n" + rights.Refused + "nft\n" + strings.Repeat("x", 9000): "ss -p",
		rights.Refused + "ss": "ss",
		rights.Refused + strings.Repeat("x", 9000) + "\nmore": strings.Repeat("x", markedLine),
		"migrate: sudo refuses nothing\n":                     "",
		"migrate: sudo " + rights.Refused + "a":               "a",
	} {
		for _, piece := range []int{1, 7, 10000} {
			w := &tail{limit: 10, mark: rights.Refused}
			for rest := text; rest != ""; {
				n := min(piece, len(rest))
				w.Write([]byte(rest[:n])) //nolint:errcheck // it has none
				rest = rest[n:]
			}
			if got := w.behindMark(); got != want || w.marked() != strings.Contains(text, rights.Refused) {
				t.Errorf("%.60q in pieces of %d: %v, %q", text, piece, w.marked(), got)
			}
			if w.String() != text[max(0, len(text)-10):] {
				t.Errorf("%.60q: kept %q", text, w.String())
			}
		}
	}
}
