package sshhost

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// Host is one machine reached over SSH. It is safe for concurrent use; all
// commands share one connection.
type Host struct {
	target target
	shared *shared
	alone  bool // shared is its own, and is closed with it
	log    hclog.Logger

	// turn guards the fields below. It is a channel so that waiting for
	// another command's dial ends with the context.
	turn   chan struct{}
	live   *conn     // nil before the first dial
	down   time.Time // since when the lost connection could not be made again
	become string    // becomeAuto until the first login found out
	// password is sudo's, where it wants one.
	password string
	closed   bool
	failed   failure // the last login

	losses atomic.Int64 // connections that were lost

	silence *silence // of its commands
	waits   *waits   // nil: nobody is told

	mu   sync.Mutex
	ways map[string]*silence // of addresses reached from it
}

var (
	_ remote.Host     = (*Host)(nil)
	_ remote.Streamer = (*Host)(nil)
)

// Dial connects to h, checks its host key, logs in and finds out whether
// commands need sudo. The dial is tried up to five times where the port is
// closed or sshd drops the connection; each attempt takes no longer than
// h.SSH.Timeout (10 s by default).
//
// Errors that the operator has to act on are ErrUnknownHostKey,
// ErrHostKeyChanged, ErrAuthentication, ErrUnreachable, ErrOtherHost and
// ErrPrivilege.
func Dial(ctx context.Context, h cluster.Host, o Options) (*Host, error) {
	all := newShared(o)
	host, err := newHost(h, all)
	if err != nil {
		return nil, err
	}
	host.alone = true
	if _, err := host.connect(ctx); err != nil {
		all.close()
		return nil, err
	}
	return host, nil
}

// newHost makes a Host that dials on its first command.
func newHost(h cluster.Host, all *shared) (*Host, error) {
	config, err := all.config()
	if err != nil {
		return nil, err
	}
	t, err := resolve(h, all.options, config)
	if err != nil {
		return nil, err
	}
	log := all.options.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Host{
		target: t,
		shared: all,
		log:    log.With("host", t.name),
		turn:   make(chan struct{}, 1),
		become: t.become,

		silence: &silence{host: t, limits: t.limits},
		waits:   newWaits(t.name, all.options, &all.asking),
		ways:    map[string]*silence{},
	}, nil
}

// Name is the host's name in the spec.
func (h *Host) Name() string { return h.target.name }

// Close ends the connection. Commands in flight end with
// remote.ErrUnknownOutcome or ErrClosed, later ones with ErrClosed.
func (h *Host) Close() error {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	h.closed = true
	if h.live != nil {
		h.live.close()
		h.live = nil
	}
	if h.alone {
		h.shared.close()
	}
	return nil
}

// connect returns the live connection, dialing where there is none.
func (h *Host) connect(ctx context.Context) (*conn, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, context.Cause(ctx))
	}
	if h.closed {
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, ErrClosed)
	}
	if h.live != nil && !h.live.dead() {
		return h.live, nil
	}
	if err := h.failed.again(ctx, h.target.limits); err != nil && h.live == nil {
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, err)
	}
	defer h.waits.begin("logging in")()
	began := time.Now()
	c, err := h.login(ctx)
	h.failed.note(ctx, h.target, began, err)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, err)
	}
	c.sudo, c.looks, c.password = h.become == becomeSudo, h.become == becomeLook, h.password
	c.wire.losses.Store(&h.losses)
	h.live, h.down = c, time.Time{}
	h.log.Debug("connected", "address", h.target.address, "user", h.target.user, "become", h.become)
	return c, nil
}

// login makes a connection that is good for commands.
func (h *Host) login(ctx context.Context) (*conn, error) {
	c, err := h.shared.dial(ctx, h.target, h.patience())
	if err != nil {
		return nil, err
	}
	if err := h.checkAddress(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	if err := h.findPrivilege(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// way knows whether something answers that is not the host as such: an address
// that is reached from it, where a network may drop packets, or its detached
// commands.
func (h *Host) way(address string) *silence {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ways[address] == nil {
		h.ways[address] = &silence{host: h.target, limits: h.target.limits}
	}
	return h.ways[address]
}

// patience is for how long the next dial may go on. All callers together have
// reconnectTime for one loss: what comes later is told at once that the host
// is down.
func (h *Host) patience() time.Duration {
	if h.live == nil {
		return 0
	}
	if h.down.IsZero() {
		h.down = time.Now()
	}
	return max(0, h.target.reconnect-time.Since(h.down))
}

// Lost is the number of connections to the host that were lost so far.
func (h *Host) Lost() int { return int(h.losses.Load()) }
