package sshhost

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"hamigrate/migrate/remote"
)

// TestCutInMidCommand: a command that may change something is not repeated,
// its outcome is unknown, and the next one gets a new connection. A look is
// repeated, but not for ever.
func TestCutInMidCommand(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	log := filepath.Join(s.home, "log")
	for name, run := range map[string]func(context.Context, remote.Command) (string, error){"Run": h.Run, "Look": h.Look} {
		before := h.Lost()
		s.set(func() {
			s.execHook = func(s *server) { time.AfterFunc(50*time.Millisecond, s.cut) }
		})
		_, err := run(t.Context(), remote.Command{Script: "echo began >> " + log + "; sleep 60"})
		wantUnknown(t, err)
		s.set(func() { s.execHook = nil })
		if out, err := run(t.Context(), remote.Command{Script: "echo next"}); err != nil || out != "next\n" {
			t.Errorf("%s: the next command: %q, %v", name, out, err)
		}
		began, err := os.ReadFile(log)
		os.Remove(log)
		want := map[string]int{"Run": 1, "Look": repeats + 1}[name]
		// A connection may be cut before the shell has come to its first command.
		if got := strings.Count(string(began), "began\n"); err != nil || got < 1 || got > want {
			t.Errorf("%s: it ran %d times (%v), want %d at most", name, got, err, want)
		}
		if got := h.Lost() - before; got != want {
			t.Errorf("%s: %d connections lost, want %d", name, got, want)
		}
	}
}

func wantUnknown(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("got %v, want an unknown outcome", err)
	}
}

// TestCutOutputIsNotWhole: status 0 arrived, but then the connection was cut.
// x/crypto/ssh takes that for a command with less output.
func TestCutOutputIsNotWhole(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.halfway = true })
	for range 20 {
		out, err := h.Look(t.Context(), remote.Command{Script: "echo"})
		wantUnknown(t, err)
		if out != "" {
			t.Errorf("got %q", out)
		}
	}
}

// TestDeadWhileIdle: a connection that died between two commands is nobody's
// trouble.
func TestDeadWhileIdle(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	for range 10 {
		s.cut()
		if out, err := h.Run(t.Context(), remote.Command{Script: "echo again"}); err != nil || out != "again\n" {
			t.Errorf("got %q, %v", out, err)
		}
	}
}

// TestHostThatVanishes: nothing answers any more, but no connection is reset
// either; only keepalives can tell.
func TestHostThatVanishes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	o := s.options()
	o.KeepAlive = 300 * time.Millisecond
	h := s.dialWith(s.host(), o)
	// First a command much longer than it takes to be taken for dead.
	if _, err := h.Run(t.Context(), remote.Command{Script: "sleep 1"}); err != nil {
		t.Fatalf("keepalives were answered, but: %v", err)
	}
	s.set(func() { s.execHook = func(s *server) { s.set(func() { s.frozen = true }) } })
	start := time.Now()
	_, err := h.Run(t.Context(), remote.Command{Script: "sleep 60"})
	wantUnknown(t, err)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestCloseInMidCommand(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.execHook = func(*server) { go h.Close() } })
	_, err := h.Run(t.Context(), remote.Command{Script: "sleep 60"})
	wantUnknown(t, err)
	if _, err := h.Run(t.Context(), remote.Command{Script: ":"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// TestCancelKills: a command whose context ended does not live on, nor does
// what it started.
func TestCancelKills(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fakeUser("1000", sudoWorks)
	for _, become := range []string{becomeNone, becomeSudo} {
		c := s.host()
		c.SSH.Become = become
		cancelKills(t, s.dialWith(c, s.options()))
	}
}

func cancelKills(t *testing.T, h *Host) {
	t.Helper()
	for _, script := range []string{"sleep 4242.4242; sleep 4242.4242", "exec sleep 4242.4242", "(sleep 4242.4242 & setsid sleep 4242.4242)"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := h.Run(ctx, remote.Command{Script: script})
		wantUnknown(t, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not the context's error", err)
		}
		out, err := h.Look(t.Context(), remote.Command{Script: "ps -eo args= | grep '[s]leep 4242' || :"})
		if err != nil || out != "" {
			t.Errorf("%s: left alive: %s%v", script, out, err)
		}
	}
	// All command slots hang, and still they can be killed.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() {
			_, err := h.Run(ctx, remote.Command{Script: "sleep 4242.4242"})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if out, err := h.Run(t.Context(), remote.Command{Script: "echo free"}); err != nil || out != "free\n" {
		t.Errorf("afterwards: %q, %v", out, err)
	}
}

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	if out, err := h.Run(t.Context(), remote.Command{Script: "head -c 16777216 /dev/zero"}); err != nil || len(out) != 16<<20 {
		t.Errorf("just within: %d bytes, %v", len(out), err)
	}
	for _, script := range []string{"head -c 16777217 /dev/zero", "yes"} {
		if _, err := h.Run(t.Context(), remote.Command{Script: script}); !errors.Is(err, ErrOutputLimit) {
			t.Errorf("%s: %v", script, err)
		}
	}
	big := filepath.Join(s.home, "big")
	writeFile(t, big, strings.Repeat("x", 17<<20))
	if _, err := h.ReadFile(t.Context(), big); !errors.Is(err, ErrOutputLimit) {
		t.Errorf("ReadFile: %v", err)
	}
}

func TestStderrTail(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	_, err := h.Run(t.Context(), remote.Command{Script: "seq 100000 >&2; echo reason >&2; exit 1"})
	var exit *remote.ExitError
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if len(exit.Stderr) != 4<<10 || !strings.HasSuffix(exit.Stderr, "100000\nreason\n") {
		t.Errorf("%d bytes: %q", len(exit.Stderr), exit.Stderr)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	for _, chunks := range [][]string{{"abcdefgh"}, {"abc", "defgh"}, {"abcdefg", "h"}, {"a", "b", "c", "d", "e", "f", "g", "h"}} {
		w := &tail{limit: 3}
		for _, c := range chunks {
			if n, err := w.Write([]byte(c)); n != len(c) || err != nil {
				t.Fatal(n, err)
			}
		}
		if w.String() != "fgh" {
			t.Errorf("%q: %q", chunks, w.String())
		}
	}
}

// TestInputNobodyReads: a command may end without reading its input.
func TestInputNobodyReads(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	for range 5 {
		if _, err := h.Run(t.Context(), remote.Command{Script: "exit 0", Stdin: make([]byte, 8<<20)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSessionsAtOnce: many callers share one connection within sshd's
// MaxSessions.
func TestSessionsAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	file := filepath.Join(s.home, "file")
	writeFile(t, file, strings.Repeat("x", 1<<20))
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := h.Run(t.Context(), remote.Command{Script: "sleep 0.05"}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			r, _, err := h.Open(t.Context(), file)
			if err != nil {
				t.Error(err)
				return
			}
			r.Close()
		})
	}
	wg.Wait()
	if most := get(s, &s.most); most < 2 {
		t.Errorf("%d sessions at once", most)
	}
	if n := get(s, &s.dials); n != 1 {
		t.Errorf("%d dials", n)
	}
}

// TestSessionsRefused: a refusal that passes is nobody's trouble, one that
// lasts is an error whose outcome is known.
func TestSessionsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.limit = 1 })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := h.Run(t.Context(), remote.Command{Script: "sleep 0.05"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.set(func() { s.limit = 0 })
	_, err := h.Run(t.Context(), remote.Command{Script: ":"})
	if err == nil || !strings.Contains(err.Error(), "MaxSessions") || errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
}

// TestLog: a line a command, with everything but standard input.
func TestLog(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var log bytes.Buffer
	o := s.options()
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &log, Mutex: new(sync.Mutex)})
	h := s.dialWith(s.host(), o)
	h.Run(t.Context(), remote.Command{Script: "cat >/dev/null; exit 4", Stdin: []byte("s3cret")})
	h.WriteFile(t.Context(), remote.File{Path: filepath.Join(s.home, "f"), Data: []byte("s3cret")})
	h.ReadFile(t.Context(), filepath.Join(s.home, "f"))
	text := log.String()
	for _, want := range []string{"host=cp1", `script="cat >/dev/null; exit 4"`, "status=4", "duration=",
		`script="write ` + s.home, `script="read ` + s.home, "become=" + h.become} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the log:\n%s", want, text)
		}
	}
	if strings.Contains(text, "s3cret") {
		t.Errorf("a secret in the log:\n%s", text)
	}
}
