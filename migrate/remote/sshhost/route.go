package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// shared is what the hosts of a pool have in common: what is read once, what
// is asked once, and the bastions, each connected to once.
type shared struct {
	options Options
	config  func() (*userConfig, error)
	secrets *secrets
	trust   *trust

	asking atomic.Int32 // questions to the person at the terminal that are open

	mu    sync.Mutex
	jumps map[string]*jump
}

func newShared(o Options) *shared {
	s := &shared{
		options: o,
		config: sync.OnceValues(func() (*userConfig, error) {
			home, err := homeOf(o)
			if err != nil {
				return nil, err
			}
			if o.NoUserConfig {
				return &userConfig{home: home}, nil
			}
			c, err := readUserConfig(home)
			if err == nil && len(c.skipped) > 0 && o.Tell != nil {
				o.Tell(fmt.Sprintf("left out, for they ask for more than the host (`Match host` and `Match all` are read): %s; if a host of the spec needs one, write it as a Host block, or into the spec's ssh",
					strings.Join(c.skipped, ", ")))
			}
			return c, err
		}),
		trust: &trust{acceptNew: o.AcceptNewHostKeys, tell: o.Tell},
		jumps: map[string]*jump{},
	}
	ask := o.Ask
	if ask != nil {
		ask = func(ctx context.Context, question string) (string, error) {
			s.asking.Add(1)
			defer s.asking.Add(-1)
			return o.Ask(ctx, question)
		}
	}
	s.secrets = newSecrets(ask)
	return s
}

// close ends the connections to the bastions.
func (s *shared) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jumps {
		j.close()
	}
}

// wireTo opens the connection that SSH runs over: to the host itself, or from
// its bastion.
func (s *shared) wireTo(ctx context.Context, t target, patience time.Duration) (net.Conn, error) {
	if t.via != nil {
		return s.jump(*t.via).dial(ctx, t, patience)
	}
	ctx, cancel := t.limit(ctx)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", t.address)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return raw, err
}

// jump returns the one jump for a bastion and the way to it.
func (s *shared) jump(t target) *jump {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jumps[t.key()]
	if j == nil {
		j = &jump{shared: s, target: t, turn: make(chan struct{}, 1)}
		s.jumps[t.key()] = j
	}
	return j
}

// jump is a bastion. All hosts behind it are reached through one connection;
// a forwarded connection is no session, so MaxSessions does not count them.
type jump struct {
	shared *shared
	target target

	turn   chan struct{} // guards the fields below, for as long as a dial takes
	live   *conn
	closed bool
	failed failure // the last login
}

// dial opens a connection from the bastion to t.
func (j *jump) dial(ctx context.Context, t target, patience time.Duration) (net.Conn, error) {
	for again := true; ; again = false {
		c, err := j.connect(ctx, patience)
		if err != nil {
			return nil, fmt.Errorf("reaching the bastion %s: %w", j.target.name, err)
		}
		raw, err := j.open(ctx, c, t)
		if err == nil || !again || ctx.Err() != nil || !c.dead() {
			return raw, err
		}
	}
}

// open asks the bastion for the connection, no longer than t's timeout.
func (j *jump) open(ctx context.Context, c *conn, t target) (net.Conn, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	raw, err := c.client.DialContext(ctx, "tcp", t.address)
	if err == nil {
		return raw, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) && refused.Reason == ssh.Prohibited {
		return nil, mistakef(ErrForwarding, err,
			"the bastion %s (%s) does not let user %s forward to %s (%s); allow it there with `AllowTcpForwarding yes` (and no PermitOpen without that address) in /etc/ssh/sshd_config, then: systemctl reload ssh || systemctl reload sshd",
			j.target.name, j.target.address, j.target.user, t.name, t.address)
	}
	return nil, fmt.Errorf("from the bastion %s: %w", j.target.name, cut(err))
}

// connect returns the live connection to the bastion; one caller dials, the
// others wait for it.
func (j *jump) connect(ctx context.Context, patience time.Duration) (*conn, error) {
	select {
	case j.turn <- struct{}{}:
		defer func() { <-j.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if j.closed {
		return nil, ErrClosed
	}
	if j.live != nil && !j.live.dead() {
		return j.live, nil
	}
	if err := j.failed.again(ctx, j.target.limits); err != nil && j.live == nil {
		return nil, err
	}
	began := time.Now()
	c, err := j.shared.dial(ctx, j.target, patience)
	j.failed.note(ctx, j.target, began, err)
	if err != nil {
		return nil, err
	}
	j.live = c
	return c, nil
}

func (j *jump) close() {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.closed = true
	if j.live != nil {
		j.live.close()
		j.live = nil
	}
}
