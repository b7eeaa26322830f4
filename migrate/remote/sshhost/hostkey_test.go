package sshhost

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// dialError dials a server that must be refused.
func dialError(t *testing.T, s *server) error {
	t.Helper()
	h, err := Dial(t.Context(), s.host(), s.options())
	if err == nil {
		h.Close()
		t.Fatal("connected")
	}
	if n := get(s, &s.dials); n > 1 {
		t.Errorf("%d dials after a final error", n)
	}
	return err
}

func wantSentence(t *testing.T, err error, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v is not %v", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestUnknownHostKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, other := newKey(t)
	s.know(knownhosts.Line([]string{"192.0.2.7"}, other.PublicKey()))
	wantSentence(t, dialError(t, s), ErrUnknownHostKey, "cp1", s.address(), "ssh-ed25519",
		ssh.FingerprintSHA256(s.key.PublicKey()), filepath.Join(s.home, ".ssh", "known_hosts"),
		"ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", "ssh-keyscan -t ed25519 -p", "127.0.0.1 >>")
}

func TestNoKnownHosts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if err := os.Remove(filepath.Join(s.home, ".ssh", "known_hosts")); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(t.Context(), s.host(), s.options())
	wantSentence(t, err, ErrUnknownHostKey, "known_hosts is not there", "ssh -p", "ops@127.0.0.1")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	if n := get(s, &s.dials); n != 0 {
		t.Errorf("%d dials without a way to check", n)
	}
}

func TestHostKeyChanged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, old := newKey(t)
	s.know("# a comment\n" + knownhosts.Line([]string{s.address()}, old.PublicKey()))
	err := dialError(t, s)
	wantSentence(t, err, ErrHostKeyChanged, "STOPPED", "line 2", ssh.FingerprintSHA256(s.key.PublicKey()),
		ssh.FingerprintSHA256(old.PublicKey()), "ssh-keygen -R '["+"127.0.0.1]:", "nothing was sent")
	if errors.Is(err, ErrUnknownHostKey) {
		t.Error("a changed key is not an unknown one")
	}
}

func newECDSA(t *testing.T) ssh.PublicKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestAdviceForAlias: what ssh(1) is told to do about a host that has another
// name in known_hosts, in files of its own, works on that name and those
// files.
func TestAdviceForAlias(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first, second := filepath.Join(s.home, "first"), filepath.Join(s.home, "second")
	writeFile(t, first, "")
	writeFile(t, second, "")
	writeFile(t, filepath.Join(s.home, ".ssh", "config"), "Host cp1\n HostKeyAlias db.example\n UserKnownHostsFile "+first+" "+second+"\n")
	wantSentence(t, dialError(t, s), ErrUnknownHostKey,
		"trust it with: ssh -p ", " -o HostKeyAlias=db.example -o UserKnownHostsFile="+first+" ops@127.0.0.1 (or")

	_, old := newKey(t)
	writeFile(t, second, knownhosts.Line([]string{"db.example"}, old.PublicKey())+"\n"+knownhosts.Line([]string{"db.example"}, newECDSA(t))+"\n")
	s.set(func() { s.dials = 0 })
	err := dialError(t, s)
	wantSentence(t, err, ErrHostKeyChanged, "remove the old key with: ssh-keygen -R db.example -f "+second)
	if strings.Count(err.Error(), "ssh-keygen -R") != 1 {
		t.Errorf("%q forgets twice", err)
	}
}

// TestOtherTypeOfKey: a host of which only a key of another type is known
// must not pass for a host seen first; that would be a way around.
func TestOtherTypeOfKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.know(knownhosts.Line([]string{s.address()}, newECDSA(t)))
	wantSentence(t, dialError(t, s), ErrHostKeyChanged, "ecdsa-sha2-nistp256", "ssh-ed25519")
}

func TestRevokedHostKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	line := knownhosts.Line([]string{s.address()}, s.key.PublicKey())
	s.know(line + "\n@revoked " + strings.Replace(line, xknownhosts.Normalize(s.address()), "*", 1))
	wantSentence(t, dialError(t, s), ErrHostKeyChanged, "revoked", "line 2")
}

// TestKnownHosts connects with every spelling known_hosts has for a host.
func TestKnownHosts(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]func(s *server) string{
		"port":     func(s *server) string { return knownhosts.Line([]string{s.address()}, s.key.PublicKey()) },
		"hashed":   hashed,
		"wildcard": func(s *server) string { return knownhosts.Line([]string{"127.0.0.*"}, s.key.PublicKey()) },
		"two hosts": func(s *server) string {
			_, other := newKey(s.t)
			return knownhosts.Line([]string{"127.0.0.9"}, other.PublicKey()) + "\n" + hashed(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.know(line(s))
			s.dial()
		})
	}
}

func hashed(s *server) string { return hashedFor(s.address(), s.key.PublicKey()) }

func hashedFor(address string, key ssh.PublicKey) string {
	line := strings.Fields(knownhosts.Line([]string{"x"}, key))
	return xknownhosts.HashHostname(xknownhosts.Normalize(address)) + " " + strings.Join(line[1:], " ")
}

// TestAlgorithmOrder: the known key's type comes first, certificates only
// where an authority is known.
func TestAlgorithmOrder(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	line := knownhosts.Line([]string{"192.0.2.1"}, key.PublicKey())
	other := knownhosts.Line([]string{"192.0.2.1"}, newECDSA(t)) // which is not the first by itself
	for name, test := range map[string]struct {
		lines, first string
		certificates bool
	}{
		"nothing known": {"", ssh.KeyAlgoED25519, false},
		"a key":         {other, ssh.KeyAlgoECDSA256, false},
		"an authority":  {"@cert-authority " + line, ssh.CertAlgoED25519v01, true},
	} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		writeFile(t, file, test.lines+"\n")
		keys, err := openHostKeys(target{knownHosts: file, address: "192.0.2.1:22"}, new(trust))
		if err != nil {
			t.Fatal(err)
		}
		got := keys.algorithms()
		if got[0] != test.first {
			t.Errorf("%s: first is %s, want %s", name, got[0], test.first)
		}
		if has := strings.Contains(strings.Join(got, " "), "-cert-"); has != test.certificates {
			t.Errorf("%s: certificates offered: %v", name, has)
		}
		if len(got) < 5 {
			t.Errorf("%s: only %v", name, got)
		}
	}
}

// TestHostCertificate connects to a host whose key only an authority vouches
// for, and refuses the certificate of another name.
func TestHostCertificate(t *testing.T) {
	t.Parallel()
	for _, principal := range []string{"127.0.0.1", "192.0.2.9"} {
		authority, s := certified(t, principal)
		line := knownhosts.Line([]string{s.address()}, authority.PublicKey())
		s.know("@cert-authority " + line)
		if principal == "127.0.0.1" {
			s.dial()
			continue
		}
		wantSentence(t, dialError(t, s), ErrHostKeyChanged, "not trusted", "ssh -v")
	}
}

func certified(t *testing.T, principal string) (ssh.Signer, *server) {
	t.Helper()
	_, authority := newKey(t)
	_, key := newKey(t)
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal},
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return authority, newServerWithKey(t, signer)
}

func TestSpellingOfHosts(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		net.JoinHostPort("fd00::1", "22"): "fd00::1", "10.0.0.1:22": "10.0.0.1", "10.0.0.1:2222": "'[10.0.0.1]:2222'",
		net.JoinHostPort("fd00::1", "2222"): "'[fd00::1]:2222'",
	} {
		got := forget(target{address: address}, []xknownhosts.KnownKey{{Filename: "/k"}})
		if want = "ssh-keygen -R " + want + " -f /k"; got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
