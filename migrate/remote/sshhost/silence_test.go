package sshhost

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
)

// quickly makes a host's limits short, in the proportions of the usual ones.
func quickly(h *Host) *Host {
	h.target.limits = limits{
		look: 450 * time.Millisecond, login: 300 * time.Millisecond, forward: 150 * time.Millisecond,
		second: 100 * time.Millisecond, pause: 100 * time.Millisecond, slow: 50 * time.Millisecond,
	}
	h.silence.limits = h.target.limits
	return h
}

// hang is a host that runs nothing.
func (s *server) hang() {
	s.set(func() { s.hostile = func(ssh.Channel, string) { <-s.closed } })
}

// endsWithin fails a test that takes too long, also on a machine that is busy.
func endsWithin(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > limit {
		t.Errorf("it took %v, more than %v", took, limit)
	}
}

// looksAt are all ways to look at a host, and how their error begins.
var looksAt = map[string]func(context.Context, *Host) error{
	"running `hostname` on cp1: no answer within 450ms": func(ctx context.Context, h *Host) error {
		_, err := h.Look(ctx, remote.Cmd("hostname"))
		return err
	},
	"reading /etc/hosts on cp1: no answer within 450ms": func(ctx context.Context, h *Host) error {
		_, err := h.ReadFile(ctx, "/etc/hosts")
		return err
	},
	"listing /etc on cp1: no answer within 450ms": func(ctx context.Context, h *Host) error {
		_, err := h.List(ctx, "/etc")
		return err
	},
	"opening /etc/hosts on cp1: no answer within 450ms": func(ctx context.Context, h *Host) error {
		_, _, err := h.Open(ctx, "/etc/hosts")
		return err
	},
	"dialing 192.0.2.7:6443 from cp1: no answer within 150ms": func(ctx context.Context, h *Host) error {
		_, err := h.DialContext(ctx, "tcp", "192.0.2.7:6443")
		return err
	},
}

// TestEveryLookHasALimit, which says what was asked, of whom, and how long that
// was waited for.
func TestEveryLookHasALimit(t *testing.T) {
	t.Parallel()
	for want, look := range looksAt {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			h := quickly(s.dial())
			s.hang()
			s.set(func() { s.noWay = true })
			endsWithin(t, 20*time.Second, func() {
				if err := look(t.Context(), h); err == nil || err.Error() != want || !errors.Is(err, ErrSilent) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestLooksAtASilentHostDoNotAddUp: a hundred of them take the time of two, and
// the host is asked for two.
func TestLooksAtASilentHostDoNotAddUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	h.silence.limits.pause = time.Hour
	asked := 0
	s.set(func() {
		s.hostile = func(ssh.Channel, string) {
			s.set(func() { asked++ })
			<-s.closed
		}
	})
	var last error
	endsWithin(t, 30*time.Second, func() {
		for range 100 {
			if _, last = h.ReadFile(t.Context(), "/etc/hosts"); last == nil {
				t.Fatal("it was answered")
			}
		}
	})
	wantSentence(t, last, ErrSilent, "reading /etc/hosts on cp1: cp1 does not answer: no reply for",
		"(the first without a reply was reading /etc/hosts)", "try it yourself: ssh -p ", "ops@127.0.0.1 uptime")
	if n := get(s, &asked); n > 2 {
		t.Errorf("the host was asked %d times", n)
	}
}

// TestLooksBesideEachOtherDoNotAddUp, not even where each has to wait for the
// end of others: sshd allows few sessions.
func TestLooksBesideEachOtherDoNotAddUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	h.silence.limits.pause = time.Hour
	s.hang()
	endsWithin(t, 30*time.Second, func() {
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				if _, err := h.List(t.Context(), "/etc"); !errors.Is(err, ErrSilent) {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
	})
}

// TestSilenceEnds with the first answer; and one look that hangs does not make
// the host a silent one.
func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	stuck := func() {
		t.Helper()
		if _, err := h.Look(t.Context(), remote.Cmd("sleep", "60")); !errors.Is(err, ErrSilent) {
			t.Fatalf("got %v", err)
		}
	}
	answers := func() bool {
		_, err := h.Look(t.Context(), remote.Cmd("true"))
		return err == nil
	}
	h.silence.limits.second = 30 * time.Second // the machine may be busy
	stuck()
	if !answers() {
		t.Error("one program that hangs made the host a silent one")
	}
	h.silence.limits.second, h.silence.limits.pause = 100*time.Millisecond, time.Hour
	stuck()
	stuck()
	if answers() {
		t.Error("it was asked in spite of its silence")
	}
	h.silence.limits.second, h.silence.limits.pause = 30*time.Second, 0
	for range 2 { // the first answer makes it a host like all others
		if !answers() {
			t.Error("it answers, and is taken for silent")
		}
	}
}

// TestASlowHostIsNotSilentForEver: one that takes longer for each answer than the
// second question is given has a whole limit after the pause.
func TestASlowHostIsNotSilentForEver(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	s.hang()
	for range 2 {
		if _, err := h.Look(t.Context(), remote.Cmd("true")); !errors.Is(err, ErrSilent) {
			t.Fatalf("got %v", err)
		}
	}
	h.target.limits.look, h.silence.limits.look = 30*time.Second, 30*time.Second
	h.silence.limits.pause = 0
	s.set(func() {
		s.hostile = func(ch ssh.Channel, _ string) {
			time.Sleep(3 * h.silence.limits.second) // the host's time, not ours
			exits(ch, 0)
		}
	})
	if _, err := h.Look(t.Context(), remote.Cmd("true")); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestAShorterLimitCounts: whoever asks with less patience finds the host silent
// all the same, and hears how long it was.
func TestAShorterLimitCounts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	h.silence.limits.look, h.target.limits.look, h.silence.limits.pause = time.Hour, time.Hour, time.Hour
	s.hang()
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := h.Look(ctx, remote.Cmd("hostname"))
		return err
	}
	if err := ask(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "running `hostname` on cp1: no answer within ") {
		t.Errorf("got %v", err)
	}
	ask() //nolint:errcheck // in vain, too
	if err := ask(); !errors.Is(err, ErrSilent) {
		t.Errorf("got %v", err)
	}
}

// TestASlowStreamIsRead for as long as something comes, and whoever reads it may
// be slow; one that falls silent in the middle ends.
func TestASlowStreamIsRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := quickly(s.dial())
	h.target.limits.look = 3 * time.Second // the machine may be busy
	s.set(func() {
		s.hostile = func(ch ssh.Channel, _ string) {
			ch.Write([]byte("file\n644\n0\n0\nroot\nroot\n5\n")) //nolint:errcheck // the reader sees it
			for range 4 {
				time.Sleep(time.Second) // the host's time, not ours
				ch.Write([]byte("x"))   //nolint:errcheck // the reader sees it
			}
			<-s.closed
		}
	})
	content, _, err := h.Open(t.Context(), "/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	got := 0
	endsWithin(t, 20*time.Second, func() {
		for b := make([]byte, 1); err == nil; {
			var n int
			n, err = content.Read(b)
			got += n
		}
	})
	if got != 4 || !errors.Is(err, ErrSilent) {
		t.Errorf("%d bytes, and then %v", got, err)
	}
}

// TestASilentLoginIsNotRepeated: whoever else wants the host is told at once.
func TestASilentLoginIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hang()
	pool := NewPool(s.options())
	t.Cleanup(func() { pool.Close() })
	host, err := pool.host(s.host())
	if err != nil {
		t.Fatal(err)
	}
	quickly(host).target.limits.pause = time.Hour
	endsWithin(t, 20*time.Second, func() {
		for range 50 {
			_, err := pool.Host(t.Context(), s.host())
			wantSentence(t, err, ErrSilent, "connecting to cp1: finding out who we are: cp1 let us in and ran nothing within 300ms; try it yourself: ssh -p ", " true")
		}
	})
	if n := get(s, &s.dials); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// TestTellsForWhomItWaits after 5 s, and then every 10 s for a host, however
// much it owes; not while a person types.
func TestTellsForWhomItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []remote.Wait
		var asking atomic.Int32
		w := newWaits("cp2", Options{Waits: func(x remote.Wait) { told = append(told, x) }}, &asking)
		w.begin("running `true`")() // in time: nobody hears of it
		first, second := w.begin("reading /a"), w.begin("reading /b")
		time.Sleep(26 * time.Second)
		first()
		time.Sleep(10 * time.Second)
		second()
		time.Sleep(time.Minute)
		want := []remote.Wait{
			{Host: "cp2", For: "reading /a", Lasts: 5 * time.Second},
			{Host: "cp2", For: "reading /a", Lasts: 15 * time.Second},
			{Host: "cp2", For: "reading /a", Lasts: 25 * time.Second},
			{Host: "cp2", For: "reading /b", Lasts: 35 * time.Second},
		}
		if len(told) != len(want) {
			t.Fatalf("told %+v", told)
		}
		for i := range want {
			if told[i] != want[i] {
				t.Errorf("told %+v, want %+v", told[i], want[i])
			}
		}
		told = nil
		asking.Add(1)
		done := w.begin("logging in")
		time.Sleep(time.Minute)
		asking.Add(-1)
		done()
		if len(told) > 0 {
			t.Errorf("told %+v into a question", told)
		}
	})
}
