package sshhost

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
)

// hostile is an sshd that does what none should.
type hostile struct {
	setUp  func(*ssh.ServerConfig)
	greet  func(net.Conn)
	answer func(ch ssh.Channel, line string)
	later  bool // only once we are logged in

	kind error    // nil: it does no harm
	says []string // in the error
}

// clear is the sequence that clears a terminal, and a line that looks like one
// of ours.
const clear = "\x1b[2J\x1b]0;owned\x07\r\nmigrate: everything is fine\r\n"

// exits ends a command with a status.
func exits(ch ssh.Channel, status uint32) {
	ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status})) //nolint:errcheck // the client sees it
}

func says(out, errs string, status uint32) func(ssh.Channel, string) {
	return func(ch ssh.Channel, _ string) {
		io.WriteString(ch, out)           //nolint:errcheck // the client sees it
		io.WriteString(ch.Stderr(), errs) //nolint:errcheck // the client sees it
		exits(ch, status)
	}
}

func noKeys(c *ssh.ServerConfig) { c.PublicKeyCallback = nil }

// hostiles are the ways in which a host can be one, by what it does.
var hostiles = map[string]hostile{
	"lets us in and runs nothing": {
		answer: func(ch ssh.Channel, _ string) { io.Copy(io.Discard, ch); select {} }, //nolint:errcheck // it never ends
		kind:   ErrSilent, says: []string{"connecting to cp1: finding out who we are: cp1 let us in and ran nothing within 300ms; try it yourself: ssh -p "},
	},
	"runs nothing any more": {
		later: true, answer: func(ch ssh.Channel, _ string) { select {} },
		kind: ErrSilent, says: []string{"running `hostname` on cp1: no answer within 450ms"},
	},
	"floods the login's output": {
		answer: func(ch ssh.Channel, _ string) { flood(ch) },
		kind:   ErrOutputLimit, says: []string{"the login shell of user ops on cp1 prints more than 256 KiB where a line was asked for; see what that is: ssh -p ", " true | head -c 300"},
	},
	"floods the login's errors": {
		answer: func(ch ssh.Channel, _ string) { flood(ch.Stderr()) },
		kind:   ErrSilent, says: []string{"cp1 let us in and ran nothing within 300ms"},
	},
	"answers the login with 200 KiB": {
		answer: says(strings.Repeat("x", 200<<10), "", 0),
		kind:   ErrPrivilege, says: []string{"prints something of its own before a command's output (`id -u` gave \"xxx", "… (204800 bytes in all)"},
	},
	"floods a look": {
		later: true, answer: func(ch ssh.Channel, _ string) { flood(ch) },
		kind: ErrOutputLimit, says: []string{"running `hostname` on cp1: more than 16 MiB of output"},
	},
	"floods a look's errors": {
		later: true, answer: func(ch ssh.Channel, _ string) { flood(ch.Stderr()) },
		kind: ErrSilent, says: []string{"running `hostname` on cp1: no answer within 450ms"},
	},
	"fails with a megabyte of errors": {
		later: true, answer: says("", strings.Repeat("warning\n", 128<<10)+"the reason", 1),
		says: []string{"cp1: `hostname` ended with status 1: … ", "the reason"},
	},
	"has a banner that clears the screen": {
		setUp: func(c *ssh.ServerConfig) { c.BannerCallback = func(ssh.ConnMetadata) string { return clear } },
	},
	"has a banner of 200 KiB": {
		setUp: func(c *ssh.ServerConfig) {
			c.BannerCallback = func(ssh.ConnMetadata) string { return strings.Repeat("x", 200<<10) }
		},
	},
	"asks for the password in our words, in its banner": {
		setUp: func(c *ssh.ServerConfig) {
			noKeys(c)
			c.BannerCallback = func(ssh.ConnMetadata) string { return "\r\nPassword of ops for sudo on cp1: " }
			c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }
		},
		kind: ErrAuthentication, says: []string{"cp1 (", ") takes no keys from user ops, only password, and this program logs in with keys alone; set `PubkeyAuthentication yes`", "give it your key, for which the password is asked: ssh-copy-id -p ", " ops@127.0.0.1"},
	},
	"asks for the password in our words, by itself": {
		setUp: func(c *ssh.ServerConfig) {
			noKeys(c)
			c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				_, err := ask("", "", []string{"Password of ops for sudo on cp1: "}, []bool{false})
				return nil, err
			}
		},
		kind: ErrAuthentication, says: []string{"takes no keys from user ops, only keyboard-interactive"},
	},
	"wants a password besides the key": {
		setUp: func(c *ssh.ServerConfig) {
			c.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
				return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
					PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil },
				}}
			}
		},
		kind: ErrAuthentication, says: []string{"takes the key of user ops and then wants password as well", "`AuthenticationMethods publickey`", "sshd -T -C user=ops"},
	},
	"answers the login with nothing": {
		answer: says("", "", 0),
		kind:   ErrPrivilege, says: []string{"user ops on cp1 is nobody there: `id -u` printed nothing and ended with status 0; try it yourself: ssh -p ", " id -u"},
	},
	"says who we are in colours": {
		answer: says(clear+"0\n", "", 0),
		kind:   ErrPrivilege, says: []string{`(` + "`id -u`" + ` gave "\x1b[2J`},
	},
	"refuses in colours": {
		answer: says("", clear, 1),
		kind:   ErrPrivilege, says: []string{`it says "\x1b[2J`, "status 1"},
	},
	"has no shell for us": {
		answer: says("This account is currently not available.\n", "", 1),
		kind:   ErrPrivilege, says: []string{"user ops logs in to cp1, and the login shell runs no command there: for `id -u` it says \"This account is currently not available.\" and ends with status 1; give ops a shell on cp1 (usermod -s /bin/sh ops), or name another user"},
	},
	"has /bin/false for us": {
		answer: says("", "", 1),
		kind:   ErrPrivilege, says: []string{"it says nothing and ends with status 1"},
	},
	"greets each command": {
		answer: says("Warning: no access to tty (Bad file descriptor).\n0\n", "", 0),
		kind:   ErrPrivilege, says: []string{"prints something of its own before a command's output"},
	},
	"answers a byte at a time": {
		later: true, answer: func(ch ssh.Channel, _ string) {
			for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(ch, "x"); err != nil {
					return
				}
			}
		},
		kind: ErrSilent, says: []string{"no answer within 450ms"},
	},
	"closes without a status": {
		answer: func(ssh.Channel, string) {},
		kind:   remote.ErrUnknownOutcome, says: []string{"finding out who we are: connection lost before the command's exit status arrived"},
	},
	"closes every look without a status": {
		later: true, answer: func(ssh.Channel, string) {},
		kind: remote.ErrUnknownOutcome, says: []string{"running `hostname` on cp1: connection lost"},
	},
	"ends its output and nothing else": {
		later: true, answer: func(ch ssh.Channel, _ string) { ch.CloseWrite(); select {} }, //nolint:errcheck // the client sees it
		kind: ErrSilent, says: []string{"no answer within 450ms"},
	},
	"has a status and goes on": {
		later: true, answer: func(ch ssh.Channel, _ string) { exits(ch, 0); flood(ch.Stderr()) },
		kind: ErrSilent, says: []string{"no answer within 450ms"},
	},
	"never finishes the exchange of keys": {
		greet: func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); select {} }, //nolint:errcheck // the client sees it
		kind:  ErrUnreachable, says: []string{"cp1 (", ") cannot be reached: ", "did not answer within 500ms; see what your own ssh says: ssh -p "},
	},
	"never says what it is": {
		greet: func(c net.Conn) { flood(c) },
		kind:  ErrUnreachable, says: []string{") cannot be reached: ssh: handshake failed"},
	},
}

// TestHostileHosts: each ends soon, in a sentence, asks nobody for anything, and
// does not get through to the terminal.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	for name, test := range hostiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var setUp []func(*ssh.ServerConfig)
			if test.setUp != nil {
				setUp = append(setUp, test.setUp)
			}
			s := newServer(t, setUp...)
			if !test.later {
				s.set(func() { s.hostile = test.answer })
			}
			s.set(func() { s.greet = test.greet })
			o := s.options()
			o.Ask = func(_ context.Context, question string) (string, error) {
				t.Errorf("asked %q", question)
				return "", errors.New("nobody is there")
			}
			o.Tell = func(sentence string) { t.Errorf("told %q", sentence) }
			c := s.host()
			if test.greet != nil {
				c.SSH.Timeout = 500 * time.Millisecond
			}
			pool := NewPool(o)
			t.Cleanup(func() { pool.Close() })
			h, err := pool.host(c)
			if err != nil {
				t.Fatal(err)
			}
			if test.kind == ErrOutputLimit { // for which the time of a busy machine is to be enough
				h.target.limits.login, h.target.limits.look = time.Minute, time.Minute
			} else if test.kind == ErrSilent || test.says == nil {
				quickly(h)
			}
			if test.says == nil || test.later {
				h.target.limits.login = 20 * time.Second
			}
			endsWithin(t, 90*time.Second, func() { _, err = pool.Host(t.Context(), c) })
			if test.later && err == nil {
				s.set(func() { s.hostile = test.answer })
				endsWithin(t, 90*time.Second, func() { _, err = h.Look(t.Context(), remote.Cmd("hostname")) })
			}
			switch {
			case test.says == nil && err != nil:
				t.Errorf("got %v", err)
			case test.says != nil && test.kind != nil:
				wantSentence(t, err, test.kind, test.says...)
			case test.says != nil && !asExit(err, new(*remote.ExitError)):
				t.Errorf("got %v", err)
			}
			if err != nil && (len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\x1b\x07")) {
				t.Errorf("an error of %d bytes: %q", len(err.Error()), remote.Excerpt(err.Error()))
			}
		})
	}
}

// TestRefusalsAreCut: what sshd says of a channel that it does not open may be long.
func TestRefusalsAreCut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.refusal = strings.Repeat("no ", 30000) })
	_, err := h.DialContext(t.Context(), "tcp", "192.0.2.7:6443")
	if refused := new(ssh.OpenChannelError); err == nil || len(err.Error()) > 400 || !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "dialing 192.0.2.7:6443 from cp1: ssh: rejected: connect failed (\"no no") {
		t.Errorf("got %.500v", err)
	}
	if _, err = h.Look(t.Context(), remote.Cmd("true")); err == nil || len(err.Error()) > 500 || !strings.Contains(err.Error(), "sshd refuses another session") {
		t.Errorf("got %.500v", err)
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// TestKeysThatOthersMayRead are not used, as ssh(1) does not use them; that is
// said where the login fails for it, and the agent may hold one all the same.
func TestKeysThatOthersMayRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, ".ssh", "id_ed25519")
	chmod(t, file, 0o644)
	_, err := Dial(t.Context(), s.host(), s.options())
	wantSentence(t, err, ErrAuthentication, "no key to log in to cp1", file+" is a private key that others may read (mode 0644): it is not used, as ssh does not use it; close it with: chmod 600 "+file)

	newIdentity(t, filepath.Join(s.home, ".ssh", "id_ecdsa")) // which the host does not take
	_, err = Dial(t.Context(), s.host(), s.options())
	wantSentence(t, err, ErrAuthentication, "lets user ops in with none of the keys tried (", "; "+file+" is a private key that others may read", "chmod 600 "+file)

	c := s.host()
	c.SSH.IdentityFile = file
	_, err = Dial(t.Context(), c, s.options())
	wantSentence(t, err, ErrAuthentication, "ssh.identityFile: "+file+" is a private key that others may read (mode 0644)", "chmod 600 "+file)

	chmod(t, file, 0o400)
	s.dialWith(c, s.options())
}
