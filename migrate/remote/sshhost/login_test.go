package sshhost

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"hamigrate/migrate/remote"
)

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, ".ssh", "id_ed25519")
	newIdentity(t, file) // not the one the server knows
	err := dialError(t, s)
	wantSentence(t, err, ErrAuthentication, "cp1", "user ops", file, "ssh-copy-id -p", "ops@127.0.0.1")
}

func TestNoKeyToLogInWith(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, ".ssh", "id_ed25519")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(t.Context(), s.host(), s.options())
	wantSentence(t, err, ErrAuthentication, "no key to log in to cp1", "no "+file, "ssh.identityFile", "ssh-add")

	h := s.host()
	h.SSH.IdentityFile = "~/absent"
	_, err = Dial(t.Context(), h, s.options())
	if err == nil || !strings.Contains(err.Error(), "ssh.identityFile") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestKeyWithPassphrase: such a key needs an agent, and uses it.
func TestKeyWithPassphrase(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	_, hostKey := newKey(t)
	s := newServerFor(t, hostKey, signer)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.home, "locked"), string(pem.EncodeToMemory(block)))
	c, o := s.host(), s.options()
	c.SSH.IdentityFile = "~/locked"
	_, err = Dial(t.Context(), c, o)
	wantSentence(t, err, ErrAuthentication, "protected by a passphrase", "ssh-add "+filepath.Join(s.home, "locked"))

	ring := agent.NewKeyring()
	for range 7 { // more keys than sshd's MaxAuthTries: ours has to come first
		other, _ := newKey(t)
		if err := ring.Add(agent.AddedKey{PrivateKey: other}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	o.AgentSocket = serveAgent(t, ring)
	s.dialWith(c, o)

	// The public half alone names an agent's key too.
	writeFile(t, filepath.Join(s.home, "only.pub"), string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	c.SSH.IdentityFile = "~/only.pub"
	s.dialWith(c, o)
}

// stuckAgent lists its keys and never signs, as one does that waits for its
// owner's yes.
type stuckAgent struct {
	agent.ExtendedAgent
	until <-chan struct{}
}

func (a stuckAgent) Sign(ssh.PublicKey, []byte) (*ssh.Signature, error) {
	<-a.until
	return nil, errors.New("too late")
}

func (a stuckAgent) SignWithFlags(key ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	return a.Sign(key, data)
}

// TestAgentThatHangs holds up no login for longer than ssh.timeout, and none
// that needs it not.
func TestAgentThatHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	s := newServer(t)
	c, o := s.host(), s.options()
	c.SSH.Timeout = 300 * time.Millisecond
	o.AgentSocket = silent.Addr().String()
	start := time.Now()
	s.dialWith(c, o)

	if err := os.Remove(filepath.Join(s.home, ".ssh", "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	_, err = Dial(t.Context(), c, o)
	wantSentence(t, err, ErrAuthentication, "no key to log in to cp1", silent.Addr().String()+" did not answer within 300ms")

	private, signer := newKey(t)
	s.login = signer
	ring := agent.NewKeyring().(agent.ExtendedAgent)
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	o.AgentSocket = serveAgent(t, stuckAgent{ring, t.Context().Done()})
	if _, err = Dial(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "did not answer within 300ms") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestCertificateOfLockedKey: the certificate beside a key with a passphrase
// is shown, whether an agent signs for it or the passphrase is asked for.
func TestCertificateOfLockedKey(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	_, authority := newKey(t)
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"ops"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		t.Fatal(err)
	}
	_, hostKey := newKey(t)
	s := newServerFor(t, hostKey, certified) // which does not take the key alone
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.home, "locked")
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	writeFile(t, file+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	c, o := s.host(), s.options()
	c.SSH.IdentityFile = "~/locked"
	p := &person{answers: []string{"open sesame"}}
	o.Ask = p.ask
	s.dialWith(c, o)

	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	o.AgentSocket, o.Ask = serveAgent(t, ring), nil
	s.dialWith(c, o)
}

func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	listen, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listen.Close() })
	go func() {
		for {
			c, err := listen.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return socket
}

// TestAgentOnly logs in with a key no file holds.
func TestAgentOnly(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	_, hostKey := newKey(t)
	s := newServerFor(t, hostKey, signer)
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.AgentSocket = serveAgent(t, ring)
	s.dialWith(s.host(), o)
}

func TestBecome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		become, uid, sudo string
		want              string   // how commands run
		says              []string // the error instead
	}{
		"root needs no sudo":  {"auto", "0", sudoRefuse, becomeNone, nil},
		"auto finds sudo":     {"", "1000", sudoWorks, becomeSudo, nil},
		"none is taken as is": {"none", "1000", sudoRefuse, becomeNone, nil},
		"sudo even for root":  {"sudo", "0", sudoWorks, becomeSudo, nil},
		"sudo wants a password": {"auto", "1000", sudoRefuse, "",
			[]string{"user ops on cp1", "a password is required", "ops ALL=(ALL) NOPASSWD: ALL", "/etc/sudoers.d/migrate", "ssh.user: root"}},
		"sudo asked for and refused": {"sudo", "1000", sudoRefuse, "", []string{"a password is required"}},
		"no sudo there":              {"auto", "1000", "exit 127", "", []string{"may not run commands as root", "status 127"}},
		"id that is no number":       {"auto", "welcome", sudoWorks, "", []string{"login shell of user ops on cp1", "welcome", "~/.bashrc"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.fakeUser(test.uid, test.sudo)
			c := s.host()
			c.SSH.Become = test.become
			h, err := Dial(t.Context(), c, s.options())
			if test.want == "" {
				if err == nil {
					t.Fatal("connected")
				}
				wantSentence(t, err, ErrPrivilege, test.says...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if h.become != test.want {
				t.Errorf("become is %s, want %s", h.become, test.want)
			}
			out, err := h.Run(t.Context(), remote.Command{Script: "echo $FAKE_ROOT"})
			if got := strings.TrimSpace(out) == "1"; err != nil || got != (test.want == becomeSudo) {
				t.Errorf("ran through sudo: %v, %v", got, err)
			}
		})
	}
}

func TestBecomeIsChecked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.host()
	c.SSH.Become = "su"
	if _, err := Dial(t.Context(), c, s.options()); err == nil || !strings.Contains(err.Error(), `ssh.become of cp1 is "su"`) {
		t.Errorf("got %v", err)
	}
}

// TestBusyHost: connections dropped before the login are tried again, as
// MaxStartups drops them at random.
func TestBusyHost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() { s.refuse = 2 })
	s.dial()
	if n := get(s, &s.dials); n != 3 {
		t.Errorf("%d dials", n)
	}
}

func TestHostThatDropsEveryDial(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() { s.refuse = 100 })
	if _, err := Dial(t.Context(), s.host(), s.options()); err == nil {
		t.Fatal("connected")
	}
	if n := get(s, &s.dials); n != dialTries {
		t.Errorf("%d dials", n)
	}
}

// TestAnSSHDSaysWhyItHangsUp: what it says before its version is told. One that
// refuses this address for a while is not asked again at once.
func TestAnSSHDSaysWhyItHangsUp(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]struct {
		dials int
		words []string
	}{
		"Exceeded MaxStartups":     {dialTries, []string{`its SSH server says "Exceeded MaxStartups"`, "cp1", "see what your own ssh says: ssh "}},
		"Not allowed at this time": {1, []string{"cp1", "refuses this machine's address for a while", "PerSourcePenalties", "at least 15 s"}},
		"\x1b[2Jgo away":           {dialTries, []string{`\x1b[2Jgo away`}},
	} {
		s := newServer(t)
		s.set(func() { s.refuse, s.preface = 100, said })
		_, err := Dial(t.Context(), s.host(), s.options())
		if !errors.Is(err, ErrUnreachable) {
			t.Fatalf("after %q: %v", said, err)
		}
		for _, w := range want.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("after %q, %q is missing: %v", said, w, err)
			}
		}
		if n := get(s, &s.dials); n != want.dials {
			t.Errorf("after %q: %d dials, want %d", said, n, want.dials)
		}
	}
}

// TestDialTimeout: a host that accepts and then says nothing.
func TestDialTimeout(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := s.host()
	c.SSH.Port = silent.Addr().(*net.TCPAddr).Port
	c.SSH.Timeout = 100 * time.Millisecond
	start := time.Now()
	_, err = Dial(t.Context(), c, s.options())
	if err == nil || !strings.Contains(err.Error(), "did not answer within 100ms") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c.SSH.Timeout = time.Hour
	if _, err = Dial(ctx, c, s.options()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestNoCommandIsRun: a login for SFTP or forwarding alone is said to be one, without
// the whole command that was refused.
func TestNoCommandIsRun(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() { s.noExec = true })
	_, err := Dial(t.Context(), s.host(), s.options())
	wantSentence(t, err, ErrPrivilege, "cp1", "refuses to run a command", "name another user in the spec as ssh.user")
	if strings.Contains(err.Error(), "printf") {
		t.Errorf("the command itself is told: %v", err)
	}
}
