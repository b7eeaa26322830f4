package sshhost

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// unreadable are lines that this program or any other cannot read. ssh(1) passes
// over them.
var unreadable = map[string]string{
	"a new type of key":        "192.0.2.7 ssh-quantum AAAAC3NzaC1xdWFudHVtAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
	"SSH-1":                    "192.0.2.7 1024 35 1372385992048394858271",
	"broken base64":            "192.0.2.7 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4",
	"an unknown marker":        "@trust-me 192.0.2.7 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
	"a host alone":             "192.0.2.7",
	"another type than it is":  "192.0.2.7 ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
	"a conflict of versioning": "<<<<<<< HEAD",
	"bytes":                    "\x00\xff\xfe",
}

// TestALineThatCannotBeRead is passed over, and named where the host is unknown:
// it may be the one that is meant.
func TestALineThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, line := range unreadable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.know(line + "\n" + knownhosts.Line([]string{s.address()}, s.key.PublicKey()))
			s.dial()
			s.sshAgrees(true)

			s.know("# a comment\n" + line)
			s.set(func() { s.dials = 0 })
			wantSentence(t, dialError(t, s), ErrUnknownHostKey, "does not know the ssh-ed25519 host key of cp1",
				"; not read there: "+filepath.Join(s.home, ".ssh", "known_hosts")+" line 2 (")
		})
	}
}

// TestNamesHost has the patterns of ssh(1), "PATTERN < NAME" each, as
// `ssh-keygen -F NAME` of OpenSSH 9.2 answers.
func TestNamesHost(t *testing.T) {
	t.Parallel()
	for pair, want := range map[string]bool{
		"cp1 < cp1": true, "cp1 < cp2": false, "CP1,lb < cp1": true, "a,cp1 < cp1": true,
		"cp* < cp1": true, "cp? < cp1": true, "cp? < cp": false, "*1*p* < cp1": false, "*p*1 < cp1": true,
		"* < [cp1]:2222": true, "[cp1]:* < [cp1]:2222": true, "[*]:2222 < [cp1]:2222": true, "[cp1]:2222 < [cp1]:2223": false,
		"cp* < [cp1]:2222": false, "cp1 < [cp1]:2222": false, "[cp1]:22 < cp1": false,
		"cp*,!cp1 < cp1": false, "!cp1,cp* < cp1": false, "cp*,!cp2 < cp1": true, "!cp2 < cp1": false,
		"10.0.0.* < 10.0.0.7": true, "fd00::1 < fd00::1": true, "|1|x|y < cp1": false, " < cp1": false,
		xknownhosts.HashHostname("cp1") + " < cp1": true, xknownhosts.HashHostname("cp1") + " < cp2": false,
	} {
		pattern, name, _ := strings.Cut(pair, " < ")
		if got := namesHost(pattern, name); got != want {
			t.Errorf("%s: %v", pair, got)
		}
	}
	start := time.Now()
	namesHost(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 1000))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a pattern took %v", took)
	}
}

// TestOtherPorts: a line whose port is a pattern, and one without a port, is good
// for a host on another port, as ssh(1) has it.
func TestOtherPorts(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{"any port": "[127.0.0.1]:*", "no port": "127.0.0.1", "hashed": xknownhosts.HashHostname("127.0.0.1"), "any host": "*"} {
		for _, marker := range []string{"", "@cert-authority "} {
			t.Run(name+marker, func(t *testing.T) {
				t.Parallel()
				authority, s := certified(t, "127.0.0.1")
				key := authority.PublicKey()
				if marker == "" {
					s = newServer(t)
					key = s.key.PublicKey()
				}
				s.know(marker + pattern + " " + string(ssh.MarshalAuthorizedKey(key)))
				s.dial()
				s.sshAgrees(true)
			})
		}
	}
	// Another key there may be that of the sshd on port 22: the host is unknown.
	s := newServer(t)
	_, other := newKey(t)
	s.know(knownhosts.Line([]string{"127.0.0.1"}, other.PublicKey()))
	wantSentence(t, dialError(t, s), ErrUnknownHostKey, "does not know the ssh-ed25519 host key")
	s.sshAgrees(false)
}

// sshAgrees holds us to what ssh(1) does with the same known_hosts, where there
// is one.
func (s *server) sshAgrees(trusts bool) {
	s.t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		return
	}
	c := s.host()
	out, err := exec.Command(program, "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile="+filepath.Join(s.home, ".ssh", "known_hosts"), "-o", "GlobalKnownHostsFile=/nonexistent", "-i", filepath.Join(s.home, ".ssh", "id_ed25519"),
		"-p", strconv.Itoa(c.SSH.Port), "ops@127.0.0.1", "true").CombinedOutput()
	if trusts != (err == nil) {
		s.t.Errorf("ssh trusts it: %v; it says %s", err == nil, out)
	}
}

// TestKnownHostsThatKeepNothing: /dev/null is no list of keys, neither to compare
// with nor to add to.
func TestKnownHostsThatKeepNothing(t *testing.T) {
	t.Parallel()
	for _, accept := range []bool{false, true} {
		s := newServer(t)
		global := filepath.Join(s.home, "global")
		writeFile(t, filepath.Join(s.home, ".ssh", "config"), "UserKnownHostsFile "+os.DevNull+"\nStrictHostKeyChecking no\n")
		o := s.options()
		o.AcceptNewHostKeys, o.GlobalKnownHosts = accept, global
		for _, with := range []string{"", "# nothing\n"} {
			if with != "" {
				writeFile(t, global, with)
			}
			_, err := Dial(t.Context(), s.host(), o)
			wantSentence(t, err, ErrUnknownHostKey, "the host key of cp1 (", os.DevNull+" is no file, so nothing is known by it and nothing can be added; name a file in the spec")
		}
		writeFile(t, global, knownhosts.Line([]string{s.address()}, s.key.PublicKey())+"\n")
		s.dialWith(s.host(), o)
	}
}

// TestRevokedAuthority: a certificate of one is none, and neither is one for a
// revoked key.
func TestRevokedAuthority(t *testing.T) {
	t.Parallel()
	authority, s := certified(t, "127.0.0.1")
	line := string(ssh.MarshalAuthorizedKey(authority.PublicKey()))
	s.know("@cert-authority * " + line + "@revoked * " + line)
	if err := dialError(t, s); !errors.Is(err, ErrHostKeyChanged) {
		t.Errorf("got %v", err)
	}
}
