package sshhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/crypto/ssh"
)

// refusedTime is how long sessions are asked for in vain while others of this
// connection are open: where MaxSessions is small they have to wait for each
// other.
const refusedTime = 2 * time.Minute

// refusals is how many times a session is refused, while no other is open,
// until that is final.
const refusals = 8

// slot waits for a free slot of a kind; release gives it back.
func (c *conn) slot(ctx context.Context, which slots) error {
	select {
	case c.slots[which] <- struct{}{}:
		return nil
	case <-c.ended:
		return errNotSent
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *conn) release(which slots) { <-c.slots[which] }

// session opens a session in a slot. The function it returns gives the slot back
// and must be called when the session is closed; it may be called twice. Where
// there is no session, the slot is given back.
//
// sshd may still count a session that both sides have closed when the next
// one is asked for, and refuse that; so a refusal is tried again for a while.
// Where sshd allows fewer sessions than there are slots, it is tried again for
// as long as there is another session to wait for. refused is called for each.
func (c *conn) session(ctx context.Context, which slots, refused func()) (*ssh.Session, func(), error) {
	session, err := c.openPatiently(ctx, refused)
	if err != nil {
		c.release(which)
		return nil, nil, err
	}
	c.open.Add(1)
	return session, sync.OnceFunc(func() {
		c.open.Add(-1)
		c.release(which)
		select {
		case c.freed <- struct{}{}:
		default: // one who waits knows already
		}
	}), nil
}

// openPatiently opens a session, and waits where sshd refuses it: for another
// one's end, or for a while.
func (c *conn) openPatiently(ctx context.Context, wasRefused func()) (*ssh.Session, error) {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: 20 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: time.Second,
	}
	pauses.Reset()
	begun, alone := time.Now(), 0
	for {
		session, err := c.openOnce(ctx)
		var refused *ssh.OpenChannelError
		if err == nil || !errors.As(err, &refused) {
			return session, err
		}
		wasRefused()
		if c.open.Load() == 0 {
			alone++
		}
		if alone == refusals || time.Since(begun) > refusedTime {
			return nil, err
		}
		pause := time.NewTimer(pauses.NextBackOff())
		select {
		case <-pause.C:
		case <-c.freed:
			pauses.Reset()
		case <-c.ended:
			pause.Stop()
			return nil, errNotSent
		case <-ctx.Done():
			pause.Stop()
			return nil, context.Cause(ctx)
		}
		pause.Stop()
	}
}

// openOnce is client.NewSession, but ends with the context. An error that is
// not a refusal of sshd means that the connection is gone.
func (c *conn) openOnce(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		session *ssh.Session
		err     error
	}
	got := make(chan opened)
	go func() {
		session, err := c.client.NewSession()
		select {
		case got <- opened{session, err}:
		case <-ctx.Done():
			if err == nil {
				session.Close()
			}
		}
	}()
	select {
	case o := <-got:
		var refused *ssh.OpenChannelError
		switch {
		case o.err == nil:
			return o.session, nil
		case errors.As(o.err, &refused):
			return nil, fmt.Errorf("sshd refuses another session (what is MaxSessions in its sshd_config? This program needs 2, and 10 is the default): %w", cut(o.err))
		}
		c.wire.Close()
		return nil, errNotSent
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
