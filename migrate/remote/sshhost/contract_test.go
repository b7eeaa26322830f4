package sshhost

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: the host of this test is this machine, and files are given away on it")
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newServer(t)
	remotetest.Contract(t, func(t *testing.T) remote.Host {
		h := s.dial()
		detachHere(s, h)
		return h
	})
}

// TestContractThroughSudo runs every script as a sudo that may only be asked
// not to prompt.
func TestContractThroughSudo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newServer(t)
	s.fakeUser("1000", sudoWorks)
	h := s.dial()
	detachHere(s, h)
	if h.become != becomeSudo {
		t.Fatalf("become is %s", h.become)
	}
	remotetest.Contract(t, func(*testing.T) remote.Host { return h })
}

// realHost is a host with a real sshd, given as
// MIGRATE_TEST_SSH=user@address[:port],identity-file,known_hosts-file.
func realHost(t *testing.T) cluster.Host {
	t.Helper()
	value := os.Getenv("MIGRATE_TEST_SSH")
	if value == "" {
		t.Skip("MIGRATE_TEST_SSH is not set")
	}
	fields := strings.Split(value, ",")
	if len(fields) != 3 {
		t.Fatal("MIGRATE_TEST_SSH is user@address[:port],identity-file,known_hosts-file")
	}
	user, address, _ := strings.Cut(fields[0], "@")
	port := 22
	if host, text, err := net.SplitHostPort(address); err == nil {
		address = host
		if port, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return cluster.Host{Name: "real", Address: address, SSH: cluster.SSH{
		User: user, Port: port, IdentityFile: fields[1], KnownHostsFile: fields[2],
	}}
}

func TestContractOnRealHost(t *testing.T) {
	where := realHost(t)
	pool := NewPool(Options{})
	t.Cleanup(func() { pool.Close() })
	remotetest.Contract(t, func(t *testing.T) remote.Host {
		h, err := pool.Host(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		return h
	})
}

// TestTunnelsAreNoSessions holds 9 forwarded connections (to sshd itself,
// whose MaxStartups allows that many) and keeps every session slot busy
// besides: sshd's MaxSessions (10) counts sessions only.
func TestTunnelsAreNoSessions(t *testing.T) {
	where := realHost(t)
	h, err := Dial(t.Context(), where, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for range 9 {
		c, err := h.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(where.SSH.Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if banner, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(banner, "SSH-2.0") {
			t.Fatalf("got %q, %v", banner, err)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 30 {
		wg.Go(func() {
			if _, err := h.Run(t.Context(), remote.Command{Script: "sleep 0.2"}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCancelKillsOnRealHost(t *testing.T) {
	where := realHost(t)
	h, err := Dial(t.Context(), where, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cancelKills(t, h)
}

// Bodies of a fake sudo.
const (
	sudoWorks  = `[ "$1 $2" = "-n --" ] || { echo "sudo: what is $*?" >&2; exit 1; }; shift 2; FAKE_ROOT=1 exec "$@"`
	sudoRefuse = `echo "sudo: a password is required" >&2; exit 1`
)

// fakeUser puts an id that says uid and a sudo with the body given in front
// of the server's PATH; an empty body means no sudo.
func (s *server) fakeUser(uid, sudo string) {
	s.t.Helper()
	bin := filepath.Join(s.home, "bin")
	tools := map[string]string{"id": "[ -z \"$FAKE_ROOT\" ] || exec /usr/bin/id \"$@\"; echo " + uid}
	if sudo != "" {
		tools["sudo"] = sudo
	}
	for name, body := range tools {
		writeFile(s.t, filepath.Join(bin, name), "#!/bin/sh\n"+body+"\n")
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.set(func() { s.env = append(s.env, "PATH="+bin+":"+os.Getenv("PATH")) })
}
