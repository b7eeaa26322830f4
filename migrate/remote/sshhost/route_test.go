package sshhost

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// behind makes servers that a client with one home folder reaches through
// each other: the first is the bastion.
func behind(t *testing.T, n int) (bastion *server, hosts []*server) {
	t.Helper()
	bastion = newServer(t)
	lines := []string{knownhosts.Line([]string{bastion.address()}, bastion.key.PublicKey())}
	for range n {
		_, key := newKey(t)
		s := newServerFor(t, key, bastion.login)
		lines = append(lines, knownhosts.Line([]string{s.address()}, key.PublicKey()))
		hosts = append(hosts, s)
	}
	bastion.know(strings.Join(lines, "\n"))
	_, port, _ := strings.Cut(bastion.address(), ":")
	writeFile(t, filepath.Join(bastion.home, ".ssh", "config"), fmt.Sprintf(
		"Host cp*\n ProxyJump bastion\nHost bastion\n HostName 127.0.0.1\n Port %s\n User jump\n", port))
	return bastion, hosts
}

func called(s *server, name string) cluster.Host {
	h := s.host()
	h.Name = name
	return h
}

// TestBastion: all hosts behind a bastion share one connection to it, also
// after it was cut.
func TestBastion(t *testing.T) {
	t.Parallel()
	bastion, hosts := behind(t, 3)
	pool := NewPool(bastion.options())
	defer pool.Close()
	all := func() {
		var wg sync.WaitGroup
		for i, s := range hosts {
			wg.Go(func() {
				h, err := pool.Host(t.Context(), called(s, fmt.Sprintf("cp%d", i+1)))
				if err != nil {
					t.Error(err)
					return
				}
				if out, err := h.Look(t.Context(), remote.Command{Script: "echo here"}); out != "here\n" {
					t.Errorf("%q, %v", out, err)
				}
			})
		}
		wg.Wait()
	}
	all()
	if n := get(bastion, &bastion.dials); n != 1 {
		t.Errorf("%d connections to the bastion", n)
	}
	bastion.cut()
	all()
	if n := get(bastion, &bastion.dials); n != 2 {
		t.Errorf("%d connections to the bastion after a cut", n)
	}
	if n := get(bastion, &bastion.most); n != 0 {
		t.Errorf("%d sessions on the bastion: nothing runs there", n)
	}
}

// TestChainOfBastions goes through two of them.
func TestChainOfBastions(t *testing.T) {
	t.Parallel()
	bastion, hosts := behind(t, 2)
	writeFile(t, filepath.Join(bastion.home, ".ssh", "config"), fmt.Sprintf(
		"Host cp1\n ProxyJump jump@%s,jump@%s\n", bastion.address(), hosts[1].address()))
	h := bastion.dialWith(called(hosts[0], "cp1"), bastion.options())
	if out, err := h.Look(t.Context(), remote.Command{Script: "echo here"}); out != "here\n" {
		t.Errorf("%q, %v", out, err)
	}
	for name, s := range map[string]*server{"bastion": bastion, "inner bastion": hosts[1], "host": hosts[0]} {
		if n := get(s, &s.dials); n != 1 {
			t.Errorf("%d connections to the %s", n, name)
		}
	}
}

// TestBastionRefuses: each way in which a bastion fails is a sentence that
// names it and the host behind it.
func TestBastionRefuses(t *testing.T) {
	t.Parallel()
	t.Run("it forbids forwarding", func(t *testing.T) {
		t.Parallel()
		bastion, hosts := behind(t, 1)
		bastion.set(func() { bastion.noForward = true })
		_, err := Dial(t.Context(), called(hosts[0], "cp1"), bastion.options())
		wantSentence(t, err, ErrForwarding, "connecting to cp1", "the bastion bastion", "user jump", "AllowTcpForwarding")
	})
	t.Run("it is not known", func(t *testing.T) {
		t.Parallel()
		bastion, hosts := behind(t, 1)
		bastion.know(knownhosts.Line([]string{hosts[0].address()}, hosts[0].key.PublicKey()))
		_, err := Dial(t.Context(), called(hosts[0], "cp1"), bastion.options())
		wantSentence(t, err, ErrUnknownHostKey, "reaching the bastion bastion", bastion.address())
		if n := get(hosts[0], &hosts[0].dials); n != 0 {
			t.Error("the host was dialed through a bastion that is not known")
		}
	})
	t.Run("the host behind it is not known", func(t *testing.T) {
		t.Parallel()
		bastion, hosts := behind(t, 1)
		bastion.know(knownhosts.Line([]string{bastion.address()}, bastion.key.PublicKey()))
		_, err := Dial(t.Context(), called(hosts[0], "cp1"), bastion.options())
		wantSentence(t, err, ErrUnknownHostKey, "host key of cp1", "ssh -p", " -J jump@"+bastion.address())
	})
	t.Run("it is away", func(t *testing.T) {
		t.Parallel()
		bastion, hosts := behind(t, 1)
		bastion.listen.Close()
		_, err := Dial(t.Context(), called(hosts[0], "cp1"), bastion.options())
		wantSentence(t, err, ErrUnreachable, "connecting to cp1", "bastion ("+bastion.address()+") cannot be reached", "connection refused")
	})
	t.Run("the host behind it is away", func(t *testing.T) {
		t.Parallel()
		bastion, hosts := behind(t, 1)
		hosts[0].listen.Close()
		_, err := Dial(t.Context(), called(hosts[0], "cp1"), bastion.options())
		wantSentence(t, err, ErrUnreachable, "cp1 ("+hosts[0].address()+") cannot be reached", "from the bastion bastion", "ssh -p ", " -J jump@"+bastion.address()+" ops@127.0.0.1 true")
	})
}
