package sshhost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/remote"
)

// detachHere gives h a folder of its own for detached commands.
func detachHere(s *server, h *Host) string {
	h.target.detachDir = filepath.Join(s.home, "run")
	return h.target.detachDir
}

// TestDetachedThroughCuts cuts the connection at each command line of a
// detached command, as it arrives or a moment after. The command runs once,
// and its end is told as it was.
func TestDetachedThroughCuts(t *testing.T) {
	t.Parallel()
	const lines = 4 // prepare, start, wait, forget
	for at := 1; at <= lines; at++ {
		for name, cut := range map[string]func(*server){
			"arrives not": func(s *server) { s.set(func() { s.swallow = at }) },
			"at once":     func(s *server) { cutAt(s, at, 0) },
			"after 10 ms": func(s *server) { cutAt(s, at, 10*time.Millisecond) },
			"after 90 ms": func(s *server) { cutAt(s, at, 90*time.Millisecond) },
		} {
			t.Run(strconv.Itoa(at)+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				h := s.dial()
				dir := detachHere(s, h)
				log := filepath.Join(s.home, "log")
				cut(s)
				script := "echo began >> " + log + "; cat; sleep 0.2; echo reason >&2; exit 3"
				out, err := h.Run(t.Context(), remote.Command{Script: script, Stdin: []byte("input\n"), Detach: "test"})
				var exit *remote.ExitError
				if !errors.As(err, &exit) || exit.Status != 3 || exit.Stderr != "reason\n" || exit.Script != script || out != "input\n" {
					t.Errorf("got %q, %v", out, err)
				}
				if began, err := os.ReadFile(log); string(began) != "began\n" {
					t.Errorf("it ran %q, %v", began, err)
				}
				if left, err := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	}
}

// cutAt cuts all connections some time after a command line has arrived.
func cutAt(s *server, line int, after time.Duration) {
	seen := 0
	s.set(func() {
		s.execHook = func(s *server) {
			s.set(func() { seen++ })
			if get(s, &seen) != line {
				return
			}
			if after == 0 {
				s.cut()
				return
			}
			time.AfterFunc(after, s.cut)
		}
	})
}

// TestDetachedIsLostWithItsHost: a host that restarted, or a command that was
// killed, is an unknown outcome, and nothing is started a second time.
func TestDetachedIsLostWithItsHost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	dir := detachHere(s, h)
	log := filepath.Join(s.home, "log")
	for name, script := range map[string]string{
		"was restarted in the middle of it": "echo began >> " + log + "; mv " + dir + " " + dir + ".$$; sleep 0.3", // at once, as /run goes
		"it was killed on cp1":              "echo began >> " + log + "; kill -9 $PPID",
	} {
		_, err := h.Run(t.Context(), remote.Command{Script: script, Detach: "test"})
		wantUnknown(t, err)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if began, err := os.ReadFile(log); string(began) != "began\n" {
			t.Errorf("it ran %q, %v", began, err)
		}
		os.Remove(log)
	}
	// The folder went before the start: the same, and nothing ran.
	s.set(func() {
		seen := 0
		s.execHook = func(s *server) {
			if seen++; seen == 2 {
				os.RemoveAll(dir)
			}
		}
	})
	_, err := h.Run(t.Context(), remote.Command{Script: "echo began >> " + log, Detach: "test"})
	wantUnknown(t, err)
	if _, err := os.Stat(log); err == nil {
		t.Error("it ran")
	}
}

// TestDetachedInputIsNowhere: what a command is fed may be a secret.
func TestDetachedInputIsNowhere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	dir := detachHere(s, h)
	script := "grep -rl s3cret " + dir + " || echo none; ls -ld " + dir + " | cut -c1-10; cat | wc -c"
	out, err := h.Run(t.Context(), remote.Command{Script: script, Stdin: []byte("a s3cret"), Detach: "test"})
	if err != nil || out != "none\ndrwx------\n8\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestDetachedOutputLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	detachHere(s, h)
	_, err := h.Run(t.Context(), remote.Command{Script: "head -c 16777216 /dev/zero", Detach: "test"})
	if !errors.Is(err, ErrOutputLimit) {
		t.Errorf("got %v", err)
	}
}

// TestDetachedIsLeftAlone: when its context ends it goes on, and another Host,
// which is the next run of this program, waits for it.
func TestDetachedIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h, next := s.dial(), s.dial()
	detachHere(s, h)
	detachHere(s, next)
	log := filepath.Join(s.home, "log")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(log); err == nil {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := h.Run(ctx, remote.Command{Script: "echo began >> " + log + "; sleep 0.5; echo ended >> " + log, Detach: "test"})
	wantUnknown(t, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not the context's error", err)
	}
	if err := next.AwaitDetached(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(log); string(got) != "began\nended\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestRepeatedThroughCuts: what may be done twice is nobody's trouble.
func TestRepeatedThroughCuts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	file, moved := filepath.Join(s.home, "file"), filepath.Join(s.home, "moved")
	content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<14)
	for name, do := range map[string]func() error{
		"write": func() error {
			return h.WriteFile(t.Context(), remote.File{Path: file, Data: content, Owner: owner()})
		},
		"read": func() error {
			f, err := h.ReadFile(t.Context(), file)
			if err == nil && !bytes.Equal(f.Data, content) {
				t.Errorf("read %d bytes", len(f.Data))
			}
			return err
		},
		"list":   func() error { _, err := h.List(t.Context(), s.home); return err },
		"look":   func() error { _, err := h.Look(t.Context(), remote.Command{Script: "echo"}); return err },
		"copy":   func() error { return h.Copy(t.Context(), h, file, remote.File{Path: file + "2", Owner: owner()}) },
		"rename": func() error { return h.Rename(t.Context(), file+"2", moved) },
		"remove": func() error { return h.Remove(t.Context(), moved) },
	} {
		for _, cut := range []func(){func() {}, func() { s.set(func() { s.swallow = 1 }) }, func() { cutAt(s, 1, 0) }, func() { cutAt(s, 1, 5*time.Millisecond) }} {
			writeFile(t, file, string(content))
			os.RemoveAll(moved)
			os.RemoveAll(file + "2")
			if name == "rename" {
				writeFile(t, file+"2", "x")
			}
			cut()
			if err := do(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			s.set(func() { s.execHook = nil })
		}
	}
}

// owner is whoever runs the tests.
func owner() string { return strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid()) }

// TestReconnectTakesItsTime: after a connection was lost, more dials may fail
// than at first, for a while.
func TestReconnectTakesItsTime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.refuse = dialTries + 1 })
	s.cut()
	if out, err := h.Run(t.Context(), remote.Command{Script: "echo back"}); err != nil || out != "back\n" {
		t.Fatalf("got %q, %v", out, err)
	}
	h.target.reconnect = time.Second
	s.set(func() { s.refuse = 1 << 30 })
	s.cut()
	if _, err := h.Run(t.Context(), remote.Command{Script: "echo"}); err == nil || errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("a host that stays away: %v", err)
	}
	s.set(func() { s.refuse = 0 })
	if _, err := h.Run(t.Context(), remote.Command{Script: "echo"}); err != nil {
		t.Errorf("and comes back: %v", err)
	}
}

// TestSleptThrough: the connection died without a word, as in a laptop's
// sleep. The next look finds that out, and has its answer all the same.
func TestSleptThrough(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	o := s.options()
	o.KeepAlive = 200 * time.Millisecond
	h := s.dialWith(s.host(), o)
	s.set(func() {
		s.frozen = true
		s.execHook = func(s *server) {
			if get(s, &s.frozen) {
				s.set(func() { s.execHook = nil })
				time.Sleep(time.Second) // until the client has given up
				s.set(func() { s.frozen = false })
			}
		}
	})
	start := time.Now()
	if out, err := h.Look(t.Context(), remote.Command{Script: "echo awake"}); err != nil || out != "awake\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if h.Lost() == 0 {
		t.Error("no connection was lost")
	}
}

// TestLostTunnelIsNoEnd: who reads from a forwarded connection whose SSH
// connection is cut must not take that for the end of what was sent.
func TestLostTunnelIsNoEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	address := listening(t, func(net.Conn) {})
	c, err := h.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.cut()
	_, err = c.Read(make([]byte, 1))
	wantUnknown(t, err)
	_, err = c.Write(make([]byte, 1))
	wantUnknown(t, err)
	c.Close()
	if _, err := c.Write(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after Close: %v", err)
	}
}
