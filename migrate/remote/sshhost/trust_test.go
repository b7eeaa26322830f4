package sshhost

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestAcceptNewHostKey: the key of a host that is not known is added, told
// and listed; and it is listed by later programs for as long as its mark is
// there.
func TestAcceptNewHostKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, ".ssh", "known_hosts")
	_, other := newKey(t)
	before := knownhosts.Line([]string{"192.0.2.7"}, other.PublicKey()) // without a line break at its end
	writeFile(t, file, before)
	o := s.options()
	var mu sync.Mutex
	var told []string
	o.AcceptNewHostKeys = true
	o.Tell = func(sentence string) { mu.Lock(); defer mu.Unlock(); told = append(told, sentence) }
	fingerprint := ssh.FingerprintSHA256(s.key.PublicKey())

	for round, accept := range []bool{true, false} {
		o.AcceptNewHostKeys = accept
		pool := NewPool(o)
		var wg sync.WaitGroup
		for _, name := range []string{"cp1", "cp2"} { // the same key, seen by two at once
			wg.Go(func() {
				if _, err := pool.Host(t.Context(), called(s, name)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := pool.AcceptedHostKeys()
		if len(got) != 2 || got[0].Fingerprint != fingerprint || got[0].At.IsZero() || got[0].File != file {
			t.Errorf("round %d: listed %+v", round, got)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], fingerprint) || !strings.Contains(told[0], "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub") {
		t.Errorf("told %q", told)
	}
	lines := strings.Split(strings.TrimSpace(read(t, file)), "\n")
	if len(lines) != 2 || lines[0] != before || !strings.Contains(lines[1], acceptedMark) {
		t.Errorf("known_hosts is %q", lines)
	}

	compared, _, _ := strings.Cut(lines[1], acceptedMark)
	s.know(compared)
	pool := NewPool(o)
	defer pool.Close()
	if _, err := pool.Host(t.Context(), s.host()); err != nil || len(pool.AcceptedHostKeys()) != 0 {
		t.Errorf("a key that was compared: %v, %+v", err, pool.AcceptedHostKeys())
	}
}

// TestAcceptMakesTheFile, hashed where ~/.ssh/config wants that.
func TestAcceptMakesTheFile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, ".ssh", "known_hosts")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.home, ".ssh", "config"), "HashKnownHosts yes\n")
	o := s.options()
	o.AcceptNewHostKeys = true
	s.dialWith(s.host(), o)
	if got := read(t, file); !strings.HasPrefix(got, "|1|") {
		t.Errorf("known_hosts is %q", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	o.AcceptNewHostKeys = false
	s.dialWith(s.host(), o)
}

// TestAcceptIsForNewOnesOnly: a key that changed, or was revoked, is refused.
func TestAcceptIsForNewOnesOnly(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]func(s *server) string{
		"changed": func(s *server) string {
			_, old := newKey(s.t)
			return knownhosts.Line([]string{s.address()}, old.PublicKey())
		},
		"revoked": func(s *server) string {
			return "@revoked * " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.know(lines(s))
			o := s.options()
			o.AcceptNewHostKeys = true
			_, err := Dial(t.Context(), s.host(), o)
			wantSentence(t, err, ErrHostKeyChanged, "STOPPED")
			if got := read(t, filepath.Join(s.home, ".ssh", "known_hosts")); got != lines(s)+"\n" && name == "revoked" || strings.Contains(got, acceptedMark) {
				t.Errorf("known_hosts became %q", got)
			}
		})
	}
}

// TestGlobalKnownHosts: the machine's own list counts where the spec names no
// file, for host certificates above all, and HostKeyAlias is the name that a
// certificate is for.
func TestGlobalKnownHosts(t *testing.T) {
	t.Parallel()
	authority, s := certified(t, "cp1.example.net")
	if err := os.Remove(filepath.Join(s.home, ".ssh", "known_hosts")); err != nil {
		t.Fatal(err)
	}
	global := filepath.Join(s.home, "ssh_known_hosts")
	writeFile(t, global, "@cert-authority *.example.net "+string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	writeFile(t, filepath.Join(s.home, ".ssh", "config"), "Host cp1\n HostKeyAlias cp1.example.net\n")
	o := s.options()
	o.GlobalKnownHosts = global
	s.dialWith(s.host(), o)

	c := s.host()
	c.SSH.KnownHostsFile = "~/.ssh/known_hosts"
	_, err := Dial(t.Context(), c, o)
	wantSentence(t, err, ErrUnknownHostKey, "known_hosts is not there")
}
