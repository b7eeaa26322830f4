package sshhost

import (
	"errors"
	"sync"
	"testing"

	"hamigrate/migrate/remote"
)

// TestPool: one connection a host, whoever asks first, and a new one for the
// next command after it died.
func TestPool(t *testing.T) {
	t.Parallel()
	a, b := newServer(t), newServer(t)
	p := NewPool(a.options())
	defer p.Close()
	c := b.host()
	c.Name = "cp2"
	c.SSH.IdentityFile = b.home + "/.ssh/id_ed25519"
	c.SSH.KnownHostsFile = b.home + "/.ssh/known_hosts"

	hosts := make([]remote.Host, 10)
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() {
			h, err := p.Host(t.Context(), a.host())
			if err != nil {
				t.Error(err)
				return
			}
			hosts[i] = h
			if _, err := p.Host(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, h := range hosts {
		if h != hosts[0] {
			t.Error("two Hosts for one host")
		}
	}
	if n, m := get(a, &a.dials), get(b, &b.dials); n != 1 || m != 1 {
		t.Errorf("%d and %d dials", n, m)
	}
	a.cut()
	if _, err := hosts[0].Run(t.Context(), remote.Command{Script: ":"}); err != nil {
		t.Error(err)
	}
	if n, m := get(a, &a.dials), get(b, &b.dials); n != 2 || m != 1 {
		t.Errorf("%d and %d dials after one was cut", n, m)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := hosts[0].Run(t.Context(), remote.Command{Script: ":"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := p.Host(t.Context(), a.host()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestHostKeyIsCheckedAgain: a host that comes back with another key is
// stopped at, in the middle of a run too.
func TestHostKeyIsCheckedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	_, other := newKey(t)
	impostor := newServerFor(t, other, s.login)
	h.target.address = impostor.address()
	s.know(hashedFor(impostor.address(), s.key.PublicKey()))
	s.cut()
	_, err := h.Run(t.Context(), remote.Command{Script: ":"})
	wantSentence(t, err, ErrHostKeyChanged, "STOPPED")
	if errors.Is(err, remote.ErrUnknownOutcome) {
		t.Error("nothing was sent, so the outcome is known")
	}
}
