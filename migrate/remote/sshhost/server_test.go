package sshhost

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/cluster"
)

// server is an sshd on loopback: it really runs commands by a shell, on this
// machine, and really forwards. The fields may be changed before the first
// dial; with mu held also later.
type server struct {
	t      *testing.T
	home   string     // ~ of the client, with key and known_hosts
	key    ssh.Signer // host key
	login  ssh.Signer // whose owner may log in
	listen net.Listener

	mu        sync.Mutex
	env       []string
	shell     []string // login shell, the command line is appended
	refuse    int      // connections to drop before the banner
	preface   string   // said to a dial that is refused, in place of a version
	noForward bool
	noExec    bool // sessions are opened, and no command is run in them
	frozen    bool // nothing is answered any more
	halfway   bool // commands end well, but the connection before their output
	sessions  int
	limit     int // of sessions at once
	most      int // sessions at once
	dials     int
	conns     []net.Conn
	execHook  func(s *server) // called when a command line has arrived
	swallow   int             // the how manieth command line from now arrives no more: the connection is cut
	closed    chan struct{}
	hostile   func(ch ssh.Channel, line string) // answers a command line itself, see hostile_test.go
	refusal   string                            // forwarding and sessions are refused with it
	noWay     bool                              // forwarding is asked for in vain
	greet     func(net.Conn)                    // has the connection before the login
	setUp     func(*ssh.ServerConfig)
}

// newServer starts a known server that lets the identity in home log in.
func newServer(t *testing.T, setUp ...func(*ssh.ServerConfig)) *server {
	t.Helper()
	_, key := newKey(t)
	return newServerWithKey(t, key, setUp...)
}

func newServerWithKey(t *testing.T, key ssh.Signer, setUp ...func(*ssh.ServerConfig)) *server {
	t.Helper()
	s := newServerFor(t, key, nil, setUp...)
	s.login = newIdentity(t, filepath.Join(s.home, ".ssh", "id_ed25519"))
	return s
}

// newServerFor starts a known server with that host key that lets login in.
func newServerFor(t *testing.T, key, login ssh.Signer, setUp ...func(*ssh.ServerConfig)) *server {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, home: t.TempDir(), key: key, login: login, listen: listen, closed: make(chan struct{}),
		limit: 10, env: os.Environ(), shell: []string{"/bin/sh", "-c"},
	}
	if setUp != nil {
		s.setUp = setUp[0]
	}
	s.serve()
	s.know(knownhosts.Line([]string{s.address()}, s.key.PublicKey()))
	return s
}

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

// newIdentity writes a new private key to file.
func newIdentity(t *testing.T, file string) ssh.Signer {
	t.Helper()
	private, signer := newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	return signer
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) address() string { return s.listen.Addr().String() }

// know makes lines the client's known_hosts.
func (s *server) know(lines string) {
	s.t.Helper()
	writeFile(s.t, filepath.Join(s.home, ".ssh", "known_hosts"), lines+"\n")
}

// host is how the client reaches the server.
func (s *server) host() cluster.Host {
	_, port, _ := net.SplitHostPort(s.address())
	number, _ := strconv.Atoi(port)
	return cluster.Host{Name: "cp1", Address: "192.0.2.1",
		SSH: cluster.SSH{User: "ops", Port: number, Address: "127.0.0.1"}}
}

func (s *server) options() Options {
	return Options{Home: s.home, AgentSocket: filepath.Join(s.home, "no-agent")}
}

// dial connects, and closes at the end of the test.
func (s *server) dial() *Host {
	s.t.Helper()
	return s.dialWith(s.host(), s.options())
}

func (s *server) dialWith(c cluster.Host, o Options) *Host {
	s.t.Helper()
	h, err := Dial(s.t.Context(), c, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { h.Close() })
	return h
}

// serve accepts connections until the end of the test.
func (s *server) serve() {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(s.login.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(s.key)
	if s.setUp != nil {
		s.setUp(config)
	}
	s.t.Cleanup(func() {
		s.listen.Close()
		s.cut()
		close(s.closed)
	})
	go func() {
		for {
			c, err := s.listen.Accept()
			if err != nil {
				return
			}
			if s.accept(c) {
				go s.connection(c, config)
			}
		}
	}()
}

func (s *server) accept(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse > 0 {
		s.refuse--
		io.WriteString(c, cmp.Or(s.preface, "Exceeded MaxStartups")+"\r\n") // as OpenSSH does
		c.Close()
		return false
	}
	s.conns = append(s.conns, c)
	return true
}

// cut ends all connections without a word, as a power failure does.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *server) swallows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swallow--
	return s.swallow == 0
}

// get reads a field under the lock.
func get[T any](s *server, field *T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *field
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) connection(c net.Conn, config *ssh.ServerConfig) {
	if greet := get(s, &s.greet); greet != nil {
		greet(c)
	}
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go func() {
		for r := range requests {
			if get(s, &s.frozen) {
				continue
			}
			r.Reply(false, nil)
		}
	}()
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			go s.session(ch)
		case "direct-tcpip":
			go s.forward(ch)
		default:
			ch.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *server) forward(open ssh.NewChannel) {
	if get(s, &s.noForward) {
		open.Reject(ssh.Prohibited, "open failed")
		return
	}
	if why := get(s, &s.refusal); why != "" {
		open.Reject(ssh.ConnectionFailed, why)
		return
	}
	if get(s, &s.noWay) {
		<-s.closed
	}
	var to struct {
		Host    string
		Port    uint32
		From    string
		Through uint32
	}
	if err := ssh.Unmarshal(open.ExtraData(), &to); err != nil {
		open.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), time.Second)
	if err != nil {
		open.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := open.Accept()
	if err != nil {
		c.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		io.Copy(c, ch)
		c.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(ch, c)
	ch.Close()
	c.Close()
}

// session runs one command. Like sshd it refuses the one above the limit.
func (s *server) session(open ssh.NewChannel) {
	s.mu.Lock()
	s.sessions++
	s.most = max(s.most, s.sessions)
	many := s.sessions > s.limit
	s.mu.Unlock()
	defer s.set(func() { s.sessions-- })
	if why := get(s, &s.refusal); many || why != "" {
		open.Reject(ssh.ConnectionFailed, or(why, "open failed")) // as OpenSSH spells it
		return
	}
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		var line struct{ Text string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &line) != nil || get(s, &s.noExec) {
			r.Reply(false, nil)
			continue
		}
		r.Reply(true, nil)
		if s.swallows() {
			s.cut()
			return
		}
		if hook := get(s, &s.execHook); hook != nil {
			hook(s)
		}
		if answer := get(s, &s.hostile); answer != nil {
			answer(ch, line.Text)
			return
		}
		if get(s, &s.halfway) {
			io.WriteString(ch, "half of the output")
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
			s.cut()
			return
		}
		s.command(ch, requests, line.Text)
		return
	}
}

func (s *server) command(ch ssh.Channel, requests <-chan *ssh.Request, line string) {
	s.mu.Lock()
	argv := append(append([]string{}, s.shell...), line)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = s.env
	s.mu.Unlock()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = s.home
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(ch.Stderr(), err)
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{127}))
		return
	}
	go func() {
		io.Copy(in, ch)
		in.Close()
	}()
	ended := make(chan struct{})
	defer close(ended)
	go func() { // a command outlives its connection, but not the test
		select {
		case <-s.closed:
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		case <-ended:
		}
	}()
	go ssh.DiscardRequests(requests) // signals too, as sshd does for root
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	}
}
