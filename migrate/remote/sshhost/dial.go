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

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/crypto/ssh"
)

// dialTries bounds the attempts of one dial. sshd drops dials at random while
// more than MaxStartups of them are not logged in yet, and refuses them for a
// moment while it restarts.
const dialTries = 5

// conn is one live SSH connection.
type conn struct {
	client *ssh.Client
	wire   *wire
	sudo   bool // commands need sudo; set before the conn is shared
	looks  bool // commands may only look; set before the conn is shared
	// password is sudo's where it wants one; set before the conn is shared.
	password string
	slots    [slotKinds]chan struct{}
	big      chan struct{} // the turn of big outputs
	open     atomic.Int32  // sessions
	freed    chan struct{} // told when one was closed
	ended    chan struct{} // closed once the connection is gone
}

// wire remembers that the connection broke, before anybody who reads from it
// can know. x/crypto/ssh shows a lost connection to a session as a plain end
// of output; with the flag, output that was cut is told from output that
// ended.
type wire struct {
	net.Conn
	preface preface
	broken  atomic.Bool
	losses  atomic.Pointer[atomic.Int64] // of the Host, once it is its connection
}

// fails notes the first failure, before anybody learns of it.
func (w *wire) fails() {
	if w.broken.Swap(true) {
		return
	}
	if losses := w.losses.Load(); losses != nil {
		losses.Add(1)
	}
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.preface.take(p[:n])
	if err != nil {
		w.fails()
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.fails()
	}
	return n, err
}

func (w *wire) Close() error {
	w.fails()
	return w.Conn.Close()
}

// dial connects and logs in, trying again where the host was only busy. A
// host key or a login that is refused is final. Where patience is not 0 the
// host is one that was reached before, and any other failure is tried again
// for so long: the network may be gone for a while, and the host restarting.
//
// A key that the host takes and that has a passphrase ends the dial; then it
// is asked for, which may take longer than sshd waits (LoginGraceTime), and
// dialed again.
func (s *shared) dial(ctx context.Context, t target, patience time.Duration) (*conn, error) {
	for {
		c, locked, err := s.dialWith(ctx, t, patience)
		if locked == "" {
			return c, err
		}
		if err := s.secrets.open(ctx, locked); err != nil {
			return nil, err
		}
	}
}

// dialWith dials with the keys that can be used by now. locked is the file of
// the key that the host wants and that has to be opened first.
func (s *shared) dialWith(ctx context.Context, t target, patience time.Duration) (_ *conn, locked string, _ error) {
	hosts, err := openHostKeys(t, s.trust)
	if err != nil {
		return nil, "", err
	}
	tries := backoff.WithMaxTries(dialTries)
	if patience > 0 {
		tries = backoff.WithMaxElapsedTime(patience)
	}
	var last error
	c, err := backoff.Retry(ctx, func() (c *conn, err error) {
		c, locked, err = s.attempt(ctx, t, patience, hosts)
		last = err
		if err != nil && (locked != "" || final(err) || patience == 0 && (!dropped(err) || isPenalty(err))) {
			return nil, backoff.Permanent(err)
		}
		return c, err
	}, tries, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 200 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 2 * time.Second,
	}))
	if locked != "" && ctx.Err() == nil {
		return nil, locked, nil
	}
	if err != nil && last != nil {
		return nil, "", unreachable(ctx, t, last) // rather the reason than "context canceled"
	}
	return c, "", err
}

// attempt dials once. The keys are its own, for with them comes a connection
// to the agent, which is closed where the dial takes too long.
func (s *shared) attempt(ctx context.Context, t target, patience time.Duration, hosts *hostKeys) (_ *conn, locked string, _ error) {
	keys, err := openKeys(ctx, t, s.secrets)
	if err != nil {
		return nil, "", err
	}
	defer keys.Close()
	if file := keys.wanted.Load(); file != nil {
		return nil, *file, errLocked
	}
	raw, err := s.wireTo(ctx, t, patience)
	if err != nil {
		return nil, "", err
	}
	c, err := dialOnce(ctx, t, raw, keys, hosts)
	if file := keys.wanted.Load(); err != nil && file != nil {
		return nil, *file, err
	}
	return c, "", err
}

// final says that another dial would end in the same way, or had better not
// be made. What is unreachable here is a bastion, which was tried already.
func final(err error) bool {
	for _, kind := range []error{ErrUnknownHostKey, ErrHostKeyChanged, ErrAuthentication, ErrForwarding, ErrUnreachable} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// dropped says whether a dial may succeed a moment later: the port is closed,
// or the connection was dropped before the login began. A bastion says only
// that it could not connect.
func dropped(err error) bool {
	var refused *ssh.OpenChannelError
	return errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// limit bounds one attempt by the target's timeout.
func (t target) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("%s did not answer within %v", t.address, t.timeout))
}

// dialOnce logs in once, no longer than the target's timeout.
func dialOnce(ctx context.Context, t target, raw net.Conn, keys *keyring, hosts *hostKeys) (*conn, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	w := &wire{Conn: raw}
	stop := context.AfterFunc(ctx, func() {
		w.Close()
		keys.Close() // an agent may wait for its owner, or be stopped
	})
	var keyTrusted bool
	var keyErr error
	sshConn, channels, requests, err := ssh.NewClientConn(w, t.known(), &ssh.ClientConfig{
		User:         t.user,
		Auth:         []ssh.AuthMethod{ssh.PublicKeys(keys.signers...)},
		AuthCallback: keys.hears,
		HostKeyCallback: func(hostname string, addr net.Addr, key ssh.PublicKey) error {
			keyErr = hosts.check(hostname, addr, key)
			keyTrusted = keyErr == nil
			return keyErr
		},
		HostKeyAlgorithms: hosts.algorithms(),
	})
	inTime := stop()
	switch {
	case !inTime:
		w.Close()
		return nil, context.Cause(ctx)
	case keyErr != nil:
		return nil, keyErr
	case err != nil && keyTrusted && !dropped(err):
		return nil, keys.refused(t, err)
	case err != nil:
		return nil, w.preface.explain(err)
	}
	c := &conn{
		client: ssh.NewClient(sshConn, channels, requests),
		wire:   w,
		slots:  newSlots(),
		big:    make(chan struct{}, 1),
		freed:  make(chan struct{}, 1),
		ended:  make(chan struct{}),
	}
	go c.watch()
	go c.keepAlive(t.keepAlive)
	return c, nil
}

// watch closes ended when the connection is gone.
func (c *conn) watch() {
	c.client.Wait() //nolint:errcheck // why it ended does not matter here
	c.wire.Close()
	close(c.ended)
}

// keepAlive asks for a sign of life every interval and closes the connection
// when one question stays unanswered for keepAliveMisses intervals. Without
// it a command on a host that vanished would hang for as long as TCP does.
func (c *conn) keepAlive(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		deadline := time.AfterFunc(keepAliveMisses*interval, func() { c.wire.Close() })
		// OpenSSH answers with "failure", which is a sign of life too.
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		deadline.Stop()
		if err != nil {
			return
		}
	}
}

// dead says whether the connection is known to be gone.
func (c *conn) dead() bool { return c.wire.broken.Load() }

// close ends the connection and waits until its goroutines know.
func (c *conn) close() {
	c.wire.Close()
	<-c.ended
}
