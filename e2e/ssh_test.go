package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// sshBlock is how the playground's spec says to reach the hosts. Without it
// ~/.ssh/config decides.
var sshBlock = regexp.MustCompile(`(?m)^  ssh:\n(    .*\n)+`)

// sshAsPeopleHaveIt reaches the hosts in the ways that people have set SSH up,
// with the sshd of the playground's hosts. All hosts are made as they were
// afterwards.
func sshAsPeopleHaveIt(t *testing.T, s *scenario) {
	was := s.spec
	s.spec = s.specWith(t, sshBlock, "")
	defer func() { s.spec = was }()
	t.Run("a bastion, an agent, hashed names, a host certificate, one session at a time", s.throughBastion)
	if !s.sudo { // there the user with sudo has no password
		t.Run("a passphrase and sudo's password, asked for on the terminal", s.askedOnTerminal)
	}
}

// throughBastion: every host but one is reached through that one, e1 is known
// by its certificate alone, and e2 allows one session a connection.
func (s *scenario) throughBastion(t *testing.T) {
	dir := s.home(t)
	s.sshd(t, "e2", "MaxSessions 1\nMaxStartups 2:50:3")
	known := filepath.Join(dir, "known_hosts")
	authority := s.certified(t, dir, "e1")
	var names strings.Builder
	for line := range strings.Lines(readFile(t, s.pg.file("known_hosts"))) {
		if !strings.Contains(line, s.pg.address("e1")) {
			names.WriteString(line)
		}
	}
	writeFile(t, known, names.String())
	local(t, "ssh-keygen", "-q", "-H", "-f", known)
	writeFile(t, known, readFile(t, known)+"@cert-authority "+s.pg.address("e1")+" "+authority)
	writeFile(t, filepath.Join(dir, ".ssh", "config"), fmt.Sprintf("Include hosts.d/*.conf\nHost *\n  UserKnownHostsFile %s\n", known))
	if err := os.Mkdir(filepath.Join(dir, ".ssh", "hosts.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".ssh", "hosts.d", "cluster.conf"), fmt.Sprintf(`
Host gate
  HostName %[1]s
  User %[2]s
Host %[1]s
  ProxyJump none
  User %[2]s
Host 198.18.0.*
  ProxyJump gate
  User %[2]s
`, s.pg.address("lb1"), s.user()))
	s.agent(t)

	s.reachesAll(t, s.bin.must(t, 0, planLimit, s.migrate("preflight", "--ignore", "DiskSync", "-o", "json")...).stdout)
	for _, name := range []string{"cp1", "e1", "e2", "w2"} {
		log := s.pg.hosts[name].must(t, "journalctl -q --since=-2min -g 'Accepted publickey for "+s.user()+"' -o cat")
		if !strings.Contains(log, " from "+s.pg.address("lb1")+" ") {
			t.Errorf("sshd of %s saw no login from the bastion: %s", name, tail(log, 5))
		}
	}
}

// askedOnTerminal: the key has a passphrase, and on one worker sudo wants a
// password. Both are asked for on the terminal, each once.
func (s *scenario) askedOnTerminal(t *testing.T) {
	dir := s.home(t)
	const passphrase, password = "correct horse", "battery staple"
	key := filepath.Join(dir, "key")
	writeFile(t, key, readFile(t, s.pg.file("id_ed25519")))
	local(t, "ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", key)
	w2 := s.pg.hosts["w2"]
	w2.must(t, `set -e
useradd --create-home --gid users carol
echo 'carol:`+password+`' | chpasswd
install -d -m 0700 -o carol -g users /home/carol/.ssh
install -m 0600 -o carol -g users ~root/.ssh/authorized_keys /home/carol/.ssh/authorized_keys
(umask 0337; echo 'carol ALL=(ALL) ALL' > /etc/sudoers.d/carol)`)
	t.Cleanup(func() {
		s.afterwards(t, "w2", "rm -f /etc/sudoers.d/carol; loginctl terminate-user carol; ! id -u carol || userdel -f carol && rm -rf /home/carol")
	})
	writeFile(t, filepath.Join(dir, ".ssh", "config"), fmt.Sprintf("Host %s\n  User carol\nHost *\n  User root\n  IdentitiesOnly yes\n  IdentityFile %s\n  UserKnownHostsFile %s\n",
		w2.address, key, s.pg.file("known_hosts")))

	out := filepath.Join(dir, "preflight.json")
	said, err := s.bin.onTerminal(t, planLimit, out, map[string]string{"Passphrase of " + key: passphrase, "Password of carol": password},
		s.migrate("preflight", "--ignore", "DiskSync", "-o", "json")...)
	if err != nil {
		t.Fatalf("preflight on a terminal: %v; it said:\n%s", err, tail(said, 20))
	}
	s.reachesAll(t, readFile(t, out))
	for _, question := range []string{"Passphrase of " + key, "Password of carol"} {
		if n := strings.Count(said, question); n != 1 {
			t.Errorf("%q was said %d times, not once:\n%s", question, n, said)
		}
	}
	if strings.Contains(said, passphrase) || strings.Contains(said, password) {
		t.Errorf("a secret was shown on the terminal:\n%s", said)
	}
}

// user is who logs in to the playground's hosts.
func (s *scenario) user() string {
	if s.sudo {
		return sudoUser
	}
	return "root"
}

// reachesAll reads what preflight says: it logged in to every host.
func (s *scenario) reachesAll(t *testing.T, report string) {
	t.Helper()
	var r preflighted
	unmarshal(t, result{stdout: report}, &r)
	logins := 0
	for _, x := range r.Results {
		if x.Check != "Login" {
			continue
		}
		if logins++; x.Severity == "blocking" {
			t.Errorf("login to %s: %s", x.Host, x.Seen)
		}
	}
	if logins != len(s.pg.hosts)-1 { // the spare host is in no spec
		t.Errorf("preflight logged in to %d of %d hosts", logins, len(s.pg.hosts)-1)
	}
}

// sshd adds to the configuration of a host's sshd, until the test's end.
func (s *scenario) sshd(t *testing.T, name, config string) {
	t.Helper()
	const file = "/etc/ssh/sshd_config.d/00-e2e.conf"
	h := s.pg.hosts[name]
	h.must(t, "cat > "+file+" <<'END'\n"+config+"\nEND\nsshd -t && systemctl reload ssh")
	eventually(t, attemptTimeout, "sshd on "+name, func(ctx context.Context) error {
		_, err := h.run(ctx, "true")
		return err
	})
	t.Cleanup(func() { s.afterwards(t, name, "rm -f "+file+" && systemctl reload ssh") })
}

// afterwards is for cleaning up, when the test's context is over. A sshd that
// is just reloaded refuses connections for a moment.
func (s *scenario) afterwards(t *testing.T, name, script string) {
	err := poll(context.Background(), attemptTimeout, func(ctx context.Context) error {
		_, err := s.pg.hosts[name].run(ctx, script)
		return err
	})
	if err != nil {
		t.Errorf("cleaning up: %v", err)
	}
}

// certified gives a host a certificate of an authority made for it, and
// returns the authority's public key.
func (s *scenario) certified(t *testing.T, dir, name string) string {
	t.Helper()
	const onHost = "/etc/ssh/e2e-cert.pub"
	authority, public := filepath.Join(dir, "authority"), filepath.Join(dir, "host.pub")
	local(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority)
	writeFile(t, public, s.pg.hosts[name].must(t, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
	local(t, "ssh-keygen", "-q", "-s", authority, "-h", "-I", name, "-n", s.pg.address(name), "-V", "+1h", public)
	s.pg.hosts[name].must(t, "cat > "+onHost+" <<'END'\n"+readFile(t, filepath.Join(dir, "host-cert.pub"))+"END\n")
	t.Cleanup(func() { s.afterwards(t, name, "rm -f "+onHost) })
	s.sshd(t, name, "HostCertificate "+onHost)
	return readFile(t, authority+".pub")
}

// agent starts an ssh-agent that holds the playground's key, until the test's
// end.
func (s *scenario) agent(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") // the test's own folder has too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent")
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", socket)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = c.Wait(); _ = os.RemoveAll(dir) })
	eventually(t, attemptTimeout, "the agent to listen", func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	local(t, "ssh-add", "-q", s.pg.file("id_ed25519"))
}

// onTerminal runs a call on a terminal of its own and gives the answers when
// their questions appear. What the call prints for machines goes to a file.
// It returns what the terminal showed.
func (b *binary) onTerminal(t *testing.T, limit time.Duration, stdout string, answers map[string]string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := os.OpenFile(stdout, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.CommandContext(ctx, b.path, args...)
	c.Stdout = out
	terminal, err := pty.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var said strings.Builder
	given := map[string]bool{}
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		said.Write(buffer[:n])
		for question, answer := range answers {
			if !given[question] && strings.Contains(said.String(), question) {
				given[question] = true
				if _, err := io.WriteString(terminal, answer+"\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil {
			break // EIO, when the program has ended (pty(7))
		}
	}
	err = c.Wait()
	if len(given) != len(answers) {
		err = errors.Join(err, fmt.Errorf("%d of %d questions were asked", len(given), len(answers)))
	}
	return said.String(), err
}

// local runs a program on this machine.
func local(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
