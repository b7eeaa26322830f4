package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
)

// lingerTime is how long the last bytes written to a forwarded connection
// may take to leave after its Close.
const lingerTime = 5 * time.Second

// DialContext opens a connection from the host: network is tcp, tcp4, tcp6 or
// unix, the address is resolved on the host. The connection supports
// deadlines. An sshd that forbids forwarding there is ErrForwarding.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	for left := repeats; ; left-- {
		c, err := h.connect(ctx)
		if err != nil {
			return nil, err
		}
		forwarded, err := h.forward(ctx, c, network, addr)
		if err == nil {
			h.log.Debug("forwarding", "address", addr)
			return newTunnel(forwarded, address{network, addr}, c.dead), nil
		}
		var refused *ssh.OpenChannelError
		switch {
		case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
			return nil, mistakef(ErrForwarding, err,
				"sshd on %s does not let user %s forward to %s; set `AllowTcpForwarding local` there (and no PermitOpen without that address) in /etc/ssh/sshd_config, check what holds with `sshd -T -C user=%s | grep -iE 'forwarding|permitopen'`, then: systemctl reload ssh || systemctl reload sshd",
				h.target.name, h.target.user, addr, h.target.user)
		case left > 0 && ctx.Err() == nil && refused == nil && c.dead():
			continue
		}
		return nil, fmt.Errorf("dialing %s from %s: %w", addr, h.target.name, cut(err))
	}
}

// forward asks sshd for a connection, no longer than the host's limit.
func (h *Host) forward(ctx context.Context, c *conn, network, addr string) (_ net.Conn, err error) {
	defer h.waits.begin("connecting to " + addr + " from there")()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q, err := h.way(addr).ask(ctx, "connecting to "+addr+" from there", h.target.limits.forward, cancel)
	if err != nil {
		return nil, err
	}
	defer func() { q.end(err) }()
	began := time.Now()
	forwarded, err := c.client.DialContext(ctx, network, addr)
	if err != nil && ctx.Err() != nil {
		return nil, late(context.Cause(ctx), began)
	}
	return forwarded, err
}

// tunnel is a forwarded connection with deadlines. The channels of
// x/crypto/ssh have none (golang/go#65930), and crypto/tls, net/http and gRPC
// count on them; so the caller gets one end of a net.Pipe, which has, and two
// goroutines carry the bytes.
type tunnel struct {
	net.Conn  // the caller's end of the pipe
	forwarded net.Conn
	address   address
	lost      func() bool // the SSH connection was
	closed    atomic.Bool // by the caller
}

// errLost is what a forwarded connection ends with when the SSH connection
// below it is lost. It is not io.EOF, since the other side has not closed: an
// HTTP body without a length would pass for whole. Clients take it for a
// connection that was reset (client-go reads again, utilnet.IsConnectionReset).
var errLost = fmt.Errorf("%w (%w)", remote.ErrUnknownOutcome, syscall.ECONNRESET)

// address is what the caller dialed: x/crypto/ssh does not know the real one.
type address struct{ network, text string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.text }

func newTunnel(forwarded net.Conn, dialed address, lost func() bool) *tunnel {
	near, far := net.Pipe()
	go func() { // in: ends when the other side closes
		io.Copy(far, forwarded) //nolint:errcheck // the caller sees EOF
		far.Close()
	}()
	go func() { // out: ends when the caller closes
		io.Copy(forwarded, far) //nolint:errcheck // the next Write fails
		far.Close()
		forwarded.Close()
	}()
	return &tunnel{Conn: near, forwarded: forwarded, address: dialed, lost: lost}
}

func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if errors.Is(err, io.EOF) && t.lost() {
		err = errLost
	}
	return n, err
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) && !t.closed.Load() && t.lost() {
		err = errLost
	}
	return n, err
}

// RemoteAddr is the address that was dialed.
func (t *tunnel) RemoteAddr() net.Addr { return t.address }

// Close lets what was written before leave, but not for ever.
func (t *tunnel) Close() error {
	t.closed.Store(true)
	time.AfterFunc(lingerTime, func() { t.forwarded.Close() })
	return t.Conn.Close()
}
