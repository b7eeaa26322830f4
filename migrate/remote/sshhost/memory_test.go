package sshhost

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"hamigrate/internal/within"

	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
)

// flood writes without end, as fast as it can.
func flood(w io.Writer) {
	for piece := make([]byte, 32<<10); ; {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// floodMost is what this program may take while hosts flood it.
const floodMost = 128 << 20

// TestAFloodTakesLittleMemory: whatever a host answers to however many looks,
// this program stays below what it may take. The host's own buffers are in the
// figure, since it runs in this process.
func TestAFloodTakesLittleMemory(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	floods := map[string]func(ssh.Channel, string){
		"standard output": func(ch ssh.Channel, _ string) { flood(ch) },
		"standard error":  func(ch ssh.Channel, _ string) { flood(ch.Stderr()) },
		"a long file": func(ch ssh.Channel, _ string) {
			io.WriteString(ch, "file\n644\n0\n0\nroot\nroot\n5\n") //nolint:errcheck // the reader sees it
			flood(ch)
		},
		"names": func(ch ssh.Channel, _ string) {
			io.WriteString(ch, "folder\n") //nolint:errcheck // the reader sees it
			flood(ch)
		},
	}
	looks := []func(context.Context, *Host) error{
		func(ctx context.Context, h *Host) error { _, err := h.Look(ctx, remote.Cmd("hostname")); return err },
		func(ctx context.Context, h *Host) error { _, err := h.ReadFile(ctx, "/etc/hosts"); return err },
		func(ctx context.Context, h *Host) error { _, err := h.List(ctx, "/etc"); return err },
	}
	for name, answer := range floods {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			h := s.dial()
			h.silence.limits.look, h.target.limits.look = 20*time.Second, 20*time.Second
			if name == "standard error" { // which has no end but that of the time
				h.target.limits.look = 500 * time.Millisecond
			}
			s.set(func() { s.hostile = answer })
			peak := within.HeapPeak(func() {
				var all sync.WaitGroup
				for i := range 24 {
					all.Go(func() {
						if err := looks[i%len(looks)](t.Context(), h); !errors.Is(err, ErrOutputLimit) && !errors.Is(err, ErrSilent) {
							t.Errorf("got %v", err)
						}
					})
				}
				all.Wait()
			})
			t.Logf("it took %d MiB", peak>>20)
			if peak > floodMost {
				t.Errorf("it took %d MiB", peak>>20)
			}
		})
	}
	t.Run("through a tunnel", floodThroughATunnel)
}

// floodThroughATunnel: connections through a host that nobody reads from.
func floodThroughATunnel(t *testing.T) {
	s := newServer(t)
	h := s.dial()
	address := listening(t, func(c net.Conn) { flood(c) })
	peak := within.HeapPeak(func() {
		var open []net.Conn
		for range 16 {
			c, err := h.DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		// Nobody reads but from one of them, as from an answer that was read enough of.
		if _, err := io.CopyN(io.Discard, open[0], 64<<20); err != nil {
			t.Error(err)
		}
		for _, c := range open {
			c.Close()
		}
	})
	t.Logf("it took %d MiB", peak>>20)
	if peak > floodMost {
		t.Errorf("it took %d MiB", peak>>20)
	}
}
