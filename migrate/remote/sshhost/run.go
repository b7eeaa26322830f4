package sshhost

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// call is one command for the host.
type call struct {
	// script runs by sh; label stands for it in the log and in errors where
	// the script is one of ours and long.
	script, label string
	stdin         io.Reader // nil means none
	stdout        io.Writer // nil means discarded
	reads         bool      // changes nothing: an unknown outcome does no harm
	slots         slots     // which of the connection's slots it takes
	mark          string    // finds its processes if it has to be killed; "" if it ends by itself
	judges        bool      // lets sudo judge the password, and nothing more
}

func (c call) name() string { return or(c.label, c.script) }

// Look runs c, which must change nothing, and returns its standard output. It
// is run again where the connection is lost. Errors are those of Run, but a
// context that ends is only the context's error.
func (h *Host) Look(ctx context.Context, c remote.Command) (string, error) {
	var out string
	err := again(ctx, func() (err error) {
		out, err = h.capture(ctx, c, true)
		return err
	})
	return out, err
}

// again calls do, which may be done twice, until it ends otherwise than by a
// connection that was lost, but not for ever.
func again(ctx context.Context, do func() error) error {
	for range repeats {
		if err := do(); err == nil || ctx.Err() != nil || !errors.Is(err, remote.ErrUnknownOutcome) {
			return err
		}
	}
	return do()
}

// Run runs c and returns its standard output, also beside an
// *remote.ExitError. A lost connection, or a context that ended after the
// command began, is remote.ErrUnknownOutcome; a connection that was already
// dead is made anew first. More than 16 MiB of output is ErrOutputLimit and
// ends the command.
//
// When ctx ends, the command and all its descendants are killed before Run
// returns, which takes up to 5 s more; behind a connection that is lost they
// live on. A process left in the background must not keep the command's
// standard output or error, or Run waits for it.
//
// A command with a Detach name runs apart from the connection, see
// runDetached.
func (h *Host) Run(ctx context.Context, c remote.Command) (string, error) {
	if c.Detach != "" {
		out, err := h.runDetached(ctx, c)
		return out, h.running(c, err)
	}
	return h.capture(ctx, c, false)
}

func (h *Host) capture(ctx context.Context, c remote.Command, reads bool) (string, error) {
	var out strings.Builder
	todo := call{script: c.Script, stdout: &out, reads: reads, mark: rand.Text()}
	if c.Stdin != nil {
		todo.stdin = bytes.NewReader(c.Stdin)
	}
	err := h.running(c, h.exec(ctx, todo))
	var exit *remote.ExitError
	if err != nil && !asExit(err, &exit) {
		return "", err
	}
	return out.String(), err
}

// running wraps the error of a command, but not the one that tells how the
// command itself ended.
func (h *Host) running(c remote.Command, err error) error {
	var exit *remote.ExitError
	if err == nil || asExit(err, &exit) {
		return err
	}
	return fmt.Errorf("running `%s` on %s: %w", remote.Brief(c.Script), h.target.name, err)
}

// exec runs c on the live connection and logs it.
func (h *Host) exec(ctx context.Context, c call) error {
	start := time.Now()
	err := h.execOnLive(ctx, c)
	var exit *remote.ExitError
	switch {
	case asExit(err, &exit):
		h.log.Debug("ran", "script", c.name(), "status", exit.Status, "duration", time.Since(start))
	case err != nil:
		h.log.Debug("ran", "script", c.name(), "error", err, "duration", time.Since(start))
	default:
		h.log.Debug("ran", "script", c.name(), "status", 0, "duration", time.Since(start))
	}
	return err
}

// execOnLive dials anew where the connection turns out to be dead before the
// command was sent.
func (h *Host) execOnLive(ctx context.Context, c call) error {
	for left := repeats; ; left-- {
		live, err := h.connect(ctx)
		if err != nil {
			return err
		}
		err = live.run(ctx, h.target, c)
		if left == 0 || !errors.Is(err, errNotSent) || ctx.Err() != nil {
			return err
		}
	}
}

// errNotSent is a connection found dead before the command was sent.
var errNotSent = errors.New("connection lost")

// run runs one call in a session of its own.
func (c *conn) run(ctx context.Context, t target, what call) error {
	if c.looks && !what.reads {
		return t.looksOnly()
	}
	line, stdin, err := c.line(t, what)
	if err != nil {
		return err
	}
	session, release, err := c.session(ctx, what.slots)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stderr := &tail{limit: 4 << 10}
	session.Stderr = stderr
	session.Stdout = what.stdout
	if what.slots != streams { // whose reader decides when it is enough
		session.Stdout = &limited{w: what.stdout, left: outputLimit, over: func() { cancel(ErrOutputLimit) }}
	}
	done := make(chan error, 1)
	go func() {
		defer release()
		defer session.Close()
		done <- feedAndWait(session, line, stdin)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		go session.Close() // it blocks while the network does
		if what.reads {
			go c.kill(t, what.mark)
			return context.Cause(ctx)
		}
		c.kill(t, what.mark)
		return fmt.Errorf("%w: %w", remote.ErrUnknownOutcome, context.Cause(ctx))
	}
	if errors.Is(context.Cause(ctx), ErrOutputLimit) { // it ended by itself all the same
		return ErrOutputLimit
	}
	return c.outcome(t, what, err, stderr)
}

// line is a call's command line and what it is fed.
func (c *conn) line(t target, what call) (string, io.Reader, error) {
	if c.looks {
		line, err := lookingLine(what.script, what.mark, t.user)
		return line, what.stdin, err
	}
	if c.password == "" {
		line, err := commandLine(what.script, what.mark, c.sudo)
		return line, what.stdin, err
	}
	if what.judges {
		line, err := askingLine(what.script, what.mark, "")
		return line, strings.NewReader(c.password + "\n"), err
	}
	nonce := rand.Text()
	line, err := askingLine(what.script, what.mark, nonce)
	first := strings.NewReader(c.password + "\n" + nonce + "\n")
	if what.stdin == nil {
		return line, first, err
	}
	return line, io.MultiReader(first, what.stdin), err
}

// outcome turns the end of a session into the error of its command.
func (c *conn) outcome(t target, what call, err error, stderr *tail) error {
	var exit *ssh.ExitError
	switch {
	case c.dead(): // also with status 0: the output may have been cut
		return remote.ErrUnknownOutcome
	case c.looks && strings.Contains(stderr.String(), rights.Refused):
		return t.refused(stderr.String())
	case errors.As(err, &exit):
		return &remote.ExitError{Host: t.name, Script: what.name(), Status: exit.ExitStatus(), Stderr: stderr.String()}
	case errors.As(err, new(*ssh.ExitMissingError)), errors.Is(err, io.EOF):
		return remote.ErrUnknownOutcome
	}
	return err
}

// kill ends all processes of a command, in a session of its own: a signal
// through the command's session does not reach what sudo started, and OpenSSH
// refuses it for root's sessions ("requires privilege separation").
func (c *conn) kill(t target, mark string) {
	if mark == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	// Nothing more can be done if this fails: the outcome is unknown anyway.
	c.run(ctx, t, call{script: assign("mark", markVariable+"="+mark) + killScript, slots: kills, reads: true}) //nolint:errcheck
}

// feedAndWait starts line, feeds it and returns when its status is known.
// A command that does not read all of its input is no error, as in a shell.
func feedAndWait(session *ssh.Session, line string, stdin io.Reader) error {
	in, err := session.StdinPipe()
	if err != nil {
		return err
	}
	if err := session.Start(line); err != nil {
		return err
	}
	go func() {
		if stdin != nil {
			io.Copy(in, stdin) //nolint:errcheck // see above
		}
		in.Close()
	}()
	return session.Wait()
}

// refusedTime is how long sessions are asked for in vain while others of this
// connection are open: where MaxSessions is small they have to wait for each
// other.
const refusedTime = 2 * time.Minute

// refusals is how many times a session is refused, while no other is open,
// until that is final.
const refusals = 8

// session opens a session once a slot is free. The function it returns gives
// the slot back and must be called when the session is closed.
//
// sshd may still count a session that both sides have closed when the next
// one is asked for, and refuse that; so a refusal is tried again for a while.
// Where sshd allows fewer sessions than there are slots, it is tried again for
// as long as there is another session to wait for.
func (c *conn) session(ctx context.Context, which slots) (*ssh.Session, func(), error) {
	slots := c.slots[which]
	select {
	case slots <- struct{}{}:
	case <-c.ended:
		return nil, nil, errNotSent
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	session, err := c.openPatiently(ctx)
	if err != nil {
		<-slots
		return nil, nil, err
	}
	c.open.Add(1)
	return session, func() {
		c.open.Add(-1)
		<-slots
		select {
		case c.freed <- struct{}{}:
		default: // one who waits knows already
		}
	}, nil
}

// openPatiently opens a session, and waits where sshd refuses it: for another
// one's end, or for a while.
func (c *conn) openPatiently(ctx context.Context) (*ssh.Session, error) {
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
			return nil, fmt.Errorf("sshd refuses another session (what is MaxSessions in its sshd_config? This program needs 2, and 10 is the default): %w", o.err)
		}
		c.wire.Close()
		return nil, errNotSent
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
