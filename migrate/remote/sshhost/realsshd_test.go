package sshhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// sshd is OpenSSH's own, on a free port of loopback, for the user of the test.
type sshd struct {
	dir  string // home folder of the client, and the server's files
	port int
	user string
}

// openSSH skips the test where OpenSSH's server is not installed or cannot
// run: for root it needs the user that its package makes.
func openSSH(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("sshd")
	if err != nil {
		program = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("OpenSSH's sshd is not installed here")
	}
	if _, err := user.Lookup("sshd"); err != nil && os.Getuid() == 0 {
		t.Skip("sshd is not set up here: it wants a user named sshd")
	}
	return program
}

// startSSHD starts one with more lines of sshd_config, beside others with the
// same client where dir is given.
func startSSHD(t *testing.T, name, dir string, config ...string) sshd {
	t.Helper()
	program := openSSH(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		dir = t.TempDir()
		keygen(t, filepath.Join(dir, ".ssh", "id_ed25519"), "")
	}
	s := sshd{dir: dir, user: me.Username}
	keygen(t, s.hostKey(name), "")
	text := strings.Join(append([]string{
		"HostKey " + s.hostKey(name), "AuthorizedKeysFile " + filepath.Join(dir, ".ssh", "id_ed25519.pub"),
		"ListenAddress 127.0.0.1", "PidFile none", "StrictModes no", "UsePAM no",
		"PasswordAuthentication no", "PermitRootLogin prohibit-password",
	}, config...), "\n") + "\n"
	// Between the choice of a free port and sshd's listening somebody else may
	// take it; then sshd ends and another one is tried.
	for range 5 {
		s.port = freePort(t)
		file := filepath.Join(dir, name+".sshd_config")
		writeFile(t, file, fmt.Sprintf("Port %d\n%s", s.port, text))
		if s.start(t, program, file) {
			return s
		}
	}
	t.Fatal("sshd does not start")
	return s
}

func (s sshd) hostKey(name string) string { return filepath.Join(s.dir, name+"_host_key") }

func (s sshd) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start says whether sshd listens; it ends with the test.
func (s sshd) start(t *testing.T, program, config string) bool {
	t.Helper()
	log, err := os.Create(config + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "-D", "-e", "-f", config)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(config), read(t, config+".log"))
		}
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", s.address()); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			t.Logf("sshd ended: %s", read(t, config+".log"))
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// keygen makes a key with OpenSSH's own program.
func keygen(t *testing.T, file, passphrase string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", file)
}

func tool(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", words[0], err, out)
	}
	return string(out)
}

// knows puts the host keys of servers into the client's known_hosts, hashed
// by ssh-keygen.
func (s sshd) knows(t *testing.T, servers map[string]sshd) {
	t.Helper()
	var lines strings.Builder
	for name, server := range servers {
		fmt.Fprintf(&lines, "[127.0.0.1]:%d %s", server.port, read(t, server.hostKey(name)+".pub"))
	}
	file := filepath.Join(s.dir, ".ssh", "known_hosts")
	writeFile(t, file, lines.String())
	tool(t, "ssh-keygen", "-q", "-H", "-f", file)
	if text := read(t, file); !strings.HasPrefix(text, "|1|") {
		t.Fatalf("not hashed: %s", text)
	}
}

// config is the client's ~/.ssh/config.
func (s sshd) config(t *testing.T, format string, values ...any) {
	t.Helper()
	writeFile(t, filepath.Join(s.dir, ".ssh", "config"), fmt.Sprintf(format, values...))
}

func (s sshd) options() Options {
	return Options{Home: s.dir, AgentSocket: filepath.Join(s.dir, "no-agent"), GlobalKnownHosts: filepath.Join(s.dir, "none")}
}

// loopback is a host of which only ~/.ssh/config knows the port.
func loopback(name string) cluster.Host {
	return cluster.Host{Name: name, Address: "127.0.0.1", SSH: cluster.SSH{Become: "none"}}
}

// works dials and runs a command.
func works(t *testing.T, o Options, h cluster.Host) *Host {
	t.Helper()
	host, err := Dial(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	if out, err := host.Look(t.Context(), remote.Command{Script: "echo $((6 * 7))"}); out != "42\n" {
		t.Fatalf("%q, %v", out, err)
	}
	return host
}

// TestSSHD: OpenSSH's server, hashed known_hosts by OpenSSH, and what
// ~/.ssh/config says, with an included file.
func TestSSHD(t *testing.T) {
	t.Parallel()
	s := startSSHD(t, "cp1", "")
	s.knows(t, map[string]sshd{"cp1": s})
	s.config(t, "Include ports\nHost *\n User %s\n", s.user)
	writeFile(t, filepath.Join(s.dir, ".ssh", "ports"), fmt.Sprintf("Host cp1\n Port %d\n", s.port))
	works(t, s.options(), loopback("cp1"))

	// Another key than the known one.
	keygen(t, s.hostKey("other"), "")
	s.knows(t, map[string]sshd{"other": s})
	_, err := Dial(t.Context(), loopback("cp1"), s.options())
	wantSentence(t, err, ErrHostKeyChanged, "STOPPED")
}

// TestSSHDBastion: two hosts behind a bastion, of which each allows few
// sessions; the bastion lets in one connection at a time.
func TestSSHDBastion(t *testing.T) {
	t.Parallel()
	bastion := startSSHD(t, "bastion", "", "MaxSessions 1", "MaxStartups 1")
	a := startSSHD(t, "cp1", bastion.dir, "MaxSessions 2", "MaxStartups 1")
	b := startSSHD(t, "cp2", bastion.dir)
	bastion.knows(t, map[string]sshd{"bastion": bastion, "cp1": a, "cp2": b})
	bastion.config(t, "Host cp1\n Port %d\nHost cp2\n Port %d\nHost cp*\n User %s\n ProxyJump gate\nHost gate\n HostName 127.0.0.1\n Port %d\n User %[3]s\n",
		a.port, b.port, a.user, bastion.port)
	pool := NewPool(bastion.options())
	defer pool.Close()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			h, err := pool.Host(t.Context(), loopback(fmt.Sprintf("cp%d", i%2+1)))
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := h.Run(t.Context(), remote.Command{Script: "sleep 0.2; echo done"}); out != "done\n" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	wg.Wait()
	log := read(t, filepath.Join(bastion.dir, "bastion.sshd_config.log"))
	if n := strings.Count(log, "Accepted publickey"); n != 1 {
		t.Errorf("%d logins on the bastion", n)
	}
}

// TestSSHDForbidsForwarding on the bastion.
func TestSSHDForbidsForwarding(t *testing.T) {
	t.Parallel()
	bastion := startSSHD(t, "bastion", "", "AllowTcpForwarding no")
	s := startSSHD(t, "cp1", bastion.dir)
	bastion.knows(t, map[string]sshd{"bastion": bastion, "cp1": s})
	bastion.config(t, "Host cp1\n Port %d\n ProxyJump %s@127.0.0.1:%d\n", s.port, s.user, bastion.port)
	_, err := Dial(t.Context(), loopback("cp1"), bastion.options())
	wantSentence(t, err, ErrForwarding, "bastion 127.0.0.1", "AllowTcpForwarding yes")
}

// TestSSHDCertificate: a host whose key only an authority vouches for, and
// one whose certificate is over.
func TestSSHDCertificate(t *testing.T) {
	t.Parallel()
	s := startSSHD(t, "cp1", "")
	authority := filepath.Join(s.dir, "authority")
	keygen(t, authority, "")
	for name, validity := range map[string]string{"good": "+1h", "over": "20200101:20200102"} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(s.dir, name)
			keygen(t, key, "")
			tool(t, "ssh-keygen", "-q", "-s", authority, "-I", "cp1", "-h", "-n", "cp1.example.net", "-V", validity, key+".pub")
			server := startSSHD(t, name+"-server", s.dir, "HostKey "+key, "HostCertificate "+key+"-cert.pub")
			server.config(t, "Host cp1\n Port %d\n User %s\n HostKeyAlias cp1.example.net\n", server.port, server.user)
			writeFile(t, filepath.Join(s.dir, ".ssh", "known_hosts"), "@cert-authority *.example.net "+read(t, authority+".pub"))
			if name == "good" {
				works(t, server.options(), loopback("cp1"))
				return
			}
			_, err := Dial(t.Context(), loopback("cp1"), server.options())
			wantSentence(t, err, ErrHostKeyChanged, "not trusted", "expired")
		})
	}
}

// TestSSHDKeys: a key with a passphrase, from an agent, from an agent with
// too many keys, and none that fits.
func TestSSHDKeys(t *testing.T) {
	t.Parallel()
	s := startSSHD(t, "cp1", "", "MaxAuthTries 3")
	s.knows(t, map[string]sshd{"cp1": s})
	locked := filepath.Join(s.dir, "locked")
	keygen(t, locked, "open sesame")
	authorized := filepath.Join(s.dir, ".ssh", "id_ed25519.pub")
	writeFile(t, authorized, read(t, locked+".pub"))
	s.config(t, "Host *\n Port %d\n User %s\n IdentityFile ~/locked\n", s.port, s.user)

	_, err := Dial(t.Context(), loopback("cp1"), s.options())
	wantSentence(t, err, ErrAuthentication, "protected by a passphrase", "ssh-add "+locked)

	p := &person{answers: []string{"open sesame"}}
	o := s.options()
	o.Ask = p.ask
	works(t, o, loopback("cp1"))
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}

	tool(t, "ssh-keygen", "-q", "-p", "-P", "open sesame", "-N", "", "-f", locked)
	ring := agent.NewKeyring()
	for range 5 {
		other, _ := newKey(t)
		if err := ring.Add(agent.AddedKey{PrivateKey: other}); err != nil {
			t.Fatal(err)
		}
	}
	o.AgentSocket = serveAgent(t, ring)
	works(t, o, loopback("cp1"))

	keygen(t, filepath.Join(s.dir, "stranger"), "")
	s.config(t, "Host *\n Port %d\n User %s\n IdentityFile ~/stranger\n IdentitiesOnly yes\n", s.port, s.user)
	_, err = Dial(t.Context(), loopback("cp1"), o)
	wantSentence(t, err, ErrAuthentication, "user "+s.user, "none of the keys tried", "stranger", "ssh-copy-id -i "+filepath.Join(s.dir, "stranger"))
}

// TestSSHDNewHostKey is accepted when that is asked for, in the form that
// OpenSSH reads.
func TestSSHDNewHostKey(t *testing.T) {
	t.Parallel()
	s := startSSHD(t, "cp1", "")
	s.config(t, "Host *\n Port %d\n User %s\n", s.port, s.user)
	_, err := Dial(t.Context(), loopback("cp1"), s.options())
	wantSentence(t, err, ErrUnknownHostKey, "cp1")
	o := s.options()
	o.AcceptNewHostKeys = true
	works(t, o, loopback("cp1"))
	file := filepath.Join(s.dir, ".ssh", "known_hosts")
	if out := tool(t, "ssh-keygen", "-F", fmt.Sprintf("[127.0.0.1]:%d", s.port), "-f", file); !strings.Contains(out, "found: line 1") {
		t.Errorf("ssh-keygen finds %q in %q", out, read(t, file))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(s.dir, ".ssh", "config"), "-o", "UserKnownHostsFile="+file,
		"-o", "GlobalKnownHostsFile=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-i", filepath.Join(s.dir, ".ssh", "id_ed25519"), "127.0.0.1", "echo", "same").CombinedOutput()
	if err != nil || string(out) != "same\n" {
		t.Errorf("ssh: %q, %v", out, err)
	}
}
