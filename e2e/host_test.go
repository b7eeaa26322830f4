package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// host is one machine of the playground, reached over SSH by a client of our
// own. Each command and each tunnel has a connection of its own, so that a
// host's power may be cut at any time.
type host struct {
	name, address string
	config        *ssh.ClientConfig
	sudo          bool
}

// newHost prepares the connection with the playground's key and known hosts.
func newHost(t *testing.T, p *playground, name, address string) host {
	t.Helper()
	key, err := os.ReadFile(p.file("id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	known, err := knownhosts.New(p.file("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	user := "root"
	if p.sudo {
		user = sudoUser
	}
	return host{name: name, address: address, sudo: p.sudo, config: &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: known, Timeout: attemptTimeout,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, // what known_hosts has, and not a certificate
	}}
}

func (h host) connect(ctx context.Context) (*ssh.Client, error) {
	var d net.Dialer
	address := net.JoinHostPort(h.address, "22")
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", h.name, err)
	}
	// A host whose power is cut in the middle of the greeting says nothing.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, address, h.config)
	if !stop() && err == nil {
		c.Close()
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting to %s: %w", h.name, err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// run runs a shell script as root and returns its standard output. The script
// goes through standard input, so what is in it shows in no process list.
func (h host) run(ctx context.Context, script string) (string, error) {
	client, err := h.connect(ctx)
	if err != nil {
		return "", err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	session, err := client.NewSession()
	if err != nil {
		return "", fmt.Errorf("on %s: %w", h.name, err)
	}
	defer session.Close()
	var stdout, stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(script), &stdout, &stderr
	command := `sh -c 's=$(cat); exec </dev/null; eval "$s"'`
	if h.sudo {
		command = "sudo -n " + command
	}
	if err := session.Run(command); err != nil {
		return stdout.String(), fmt.Errorf("on %s: %w; it said: %s", h.name, err, tail(stderr.String()+stdout.String(), 15))
	}
	return stdout.String(), nil
}

// must is run that the stage cannot go on without.
func (h host) must(t *testing.T, script string) string {
	t.Helper()
	return h.mustWithin(t, time.Minute, script)
}

// mustWithin is must of something that takes its time.
func (h host) mustWithin(t *testing.T, limit time.Duration, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := h.run(ctx, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dial connects to an address as seen from the host.
func (h host) dial(ctx context.Context, address string) (net.Conn, error) {
	client, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.DialContext(ctx, "tcp", address)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("connecting to %s from %s: %w", address, h.name, err)
	}
	return tunnel{conn, client}, nil
}

// tunnel is a connection through a host; its end ends the SSH connection.
type tunnel struct {
	net.Conn
	client *ssh.Client
}

func (c tunnel) Close() error {
	c.Conn.Close()
	return c.client.Close()
}

// linkInto finds this machine's network interface that leads to an address.
func linkInto(t *testing.T, address string) net.Interface {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		addresses, err := l.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.Contains(net.ParseIP(address)) {
				return l
			}
		}
	}
	t.Fatalf("no network interface of this machine leads to %s", address)
	return net.Interface{}
}

// socket is one established TCP connection of a process on a host.
type socket struct{ process, peer string }

// sockets lists the established connections of processes on a host to a
// remote port.
func (h host) sockets(ctx context.Context, process string, port int) ([]socket, error) {
	out, err := h.run(ctx, fmt.Sprintf("ss -Htnp state established '( dport = :%d )'", port))
	if err != nil {
		return nil, err
	}
	var found []socket
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue // without a process: a connection that is being closed
		}
		if strings.Contains(fields[4], `"`+process+`"`) {
			found = append(found, socket{process, fields[3]})
		}
	}
	return found, nil
}

// talksOnlyTo checks that a process has connections to the port, and all of
// them to one address, which is to be one that a socket shows: no name.
func (h host) talksOnlyTo(ctx context.Context, process, address string, port int) error {
	found, err := h.sockets(ctx, process, port)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s on %s has no connection to any port %d", process, h.name, port)
	}
	for _, s := range found {
		if s.peer != address {
			return fmt.Errorf("%s on %s is connected to %s, not only to %s", process, h.name, s.peer, address)
		}
	}
	return nil
}

// fingerprint is that of the key in a line of known_hosts.
func fingerprint(t *testing.T, line string) string {
	t.Helper()
	_, _, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
	if err != nil {
		t.Fatalf("reading known_hosts: %v", err)
	}
	return ssh.FingerprintSHA256(key)
}
