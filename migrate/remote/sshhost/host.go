package sshhost

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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
	log    hclog.Logger

	// turn guards the fields below. It is a channel so that waiting for
	// another command's dial ends with the context.
	turn   chan struct{}
	live   *conn     // nil before the first dial
	down   time.Time // since when the lost connection could not be made anew
	become string    // becomeAuto until the first login found out
	closed bool

	losses atomic.Int64 // connections that were lost
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
// ErrHostKeyChanged, ErrAuthentication and ErrPrivilege.
func Dial(ctx context.Context, h cluster.Host, o Options) (*Host, error) {
	host, err := newHost(h, o)
	if err != nil {
		return nil, err
	}
	if _, err := host.connect(ctx); err != nil {
		return nil, err
	}
	return host, nil
}

// newHost makes a Host that dials on its first command.
func newHost(h cluster.Host, o Options) (*Host, error) {
	t, err := resolve(h, o)
	if err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Host{
		target: t,
		log:    log.With("host", t.name),
		turn:   make(chan struct{}, 1),
		become: t.become,
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
	c, err := dial(ctx, h.target, h.patience())
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, err)
	}
	if err := h.findPrivilege(ctx, c); err != nil {
		c.close()
		return nil, fmt.Errorf("connecting to %s: %w", h.target.name, err)
	}
	c.sudo = h.become == becomeSudo
	c.wire.losses.Store(&h.losses)
	h.live, h.down = c, time.Time{}
	h.log.Debug("connected", "address", h.target.address, "user", h.target.user, "become", h.become)
	return c, nil
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

// findPrivilege decides how commands get root's rights, once a Host.
func (h *Host) findPrivilege(ctx context.Context, c *conn) error {
	if h.become == becomeAuto {
		var out strings.Builder
		if err := c.run(ctx, h.target, call{script: "id -u", stdout: &out, reads: true}); err != nil {
			return fmt.Errorf("finding out who we are: %w", err)
		}
		uid, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if err != nil {
			return mistakef(ErrPrivilege, err,
				"the login shell of user %s on %s prints something of its own before a command's output (`id -u` gave %q); make its start-up files silent without a terminal (for bash: begin ~/.bashrc with `[ -t 0 ] || return`)",
				h.target.user, h.target.name, out.String())
		}
		if uid == 0 {
			h.become = becomeNone
			return nil
		}
	}
	if h.become == becomeNone || h.live != nil {
		return nil
	}
	c.sudo = true
	if err := c.run(ctx, h.target, call{script: ":", reads: true}); err != nil {
		return h.noSudo(err)
	}
	h.become = becomeSudo
	return nil
}

func (h *Host) noSudo(err error) error {
	var exit *remote.ExitError
	if !asExit(err, &exit) {
		return fmt.Errorf("trying sudo: %w", err)
	}
	user := h.target.user
	return mistakef(ErrPrivilege, err,
		"user %s on %s may not run commands as root (`sudo -n sh` says: %s); allow it on %s with: echo '%s ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/migrate && visudo -c (and `Defaults:%s !requiretty` where sudo wants a terminal), or set ssh.user: root",
		user, h.target.name, or(strings.TrimSpace(exit.Stderr), "status "+strconv.Itoa(exit.Status)),
		h.target.name, user, user)
}
