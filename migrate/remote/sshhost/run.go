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
	atMost        int       // bytes of output; 0: outputLimit
	// silence bounds the call, by limit; nil: whoever calls does, or nobody.
	silence *silence
	limit   time.Duration
	// asks is what the program waits for then: "reading /etc/kubernetes". "":
	// nobody is told.
	asks string
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

// bounded makes a look of a call.
func (h *Host) bounded(c *call, asks string) {
	c.silence, c.limit, c.asks = h.silence, h.target.limits.look, asks
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
// dead is made again first. More than 16 MiB of output is ErrOutputLimit and
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
	if reads {
		h.bounded(&todo, "running `"+remote.Excerpt(remote.Brief(c.Script))+"`")
	}
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

// exec runs c on the live connection, logs and records it.
func (h *Host) exec(ctx context.Context, c call) error {
	if !c.reads {
		ctx = remote.Changing(ctx)
	}
	start := time.Now()
	c, record := h.recorded(c)
	err := h.execOnLive(ctx, c)
	record(err)
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

// execOnLive dials again where the connection turns out to be dead before the
// command was sent.
func (h *Host) execOnLive(ctx context.Context, c call) error {
	for left := repeats; ; left-- {
		live, err := h.connect(ctx)
		if err != nil {
			return err
		}
		err = h.waited(c, func() error { return live.run(ctx, h.target, c) })
		if left == 0 || !errors.Is(err, errNotSent) || ctx.Err() != nil {
			return err
		}
	}
}

// waited runs a call, and tells for whom the program waits.
func (h *Host) waited(c call, run func() error) error {
	if c.asks != "" {
		defer h.waits.begin(c.asks)()
	}
	return run()
}

// errNotSent is a connection found dead before the command was sent.
var errNotSent = errors.New("connection lost")

// run runs one call in a session of its own.
func (c *conn) run(ctx context.Context, t target, what call) (err error) {
	if c.looks && !what.reads {
		return t.looksOnly()
	}
	line, stdin, err := c.line(t, what)
	if err != nil {
		return err
	}
	if err := c.slot(ctx, what.slots); err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q, err := what.silence.ask(ctx, what.asks, what.limit, cancel)
	if err != nil {
		c.release(what.slots)
		return err
	}
	defer func() { q.end(err) }()
	session, release, err := c.session(ctx, what.slots, q.alive)
	if err != nil {
		return late(err, began)
	}
	stderr := &tail{limit: 4 << 10, mark: rights.Refused}
	session.Stderr = stderr
	out := &limited{w: what.stdout, left: or(what.atMost, outputLimit), over: func() { cancel(ErrOutputLimit) }, ctx: ctx, q: q}
	if what.reads && !remote.Changes(ctx) {
		out.big = c.big
	}
	defer out.close()
	session.Stdout = out
	if what.slots == streams { // whose reader decides when it is enough
		session.Stdout = paced{what.stdout, q}
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
		// A host that never ends a session must not keep the others from theirs.
		time.AfterFunc(killTime, release)
		if what.reads {
			go c.kill(t, what.mark)
			return late(context.Cause(ctx), began)
		}
		c.kill(t, what.mark)
		return fmt.Errorf("%w: %w", remote.ErrUnknownOutcome, context.Cause(ctx))
	}
	if errors.Is(context.Cause(ctx), ErrOutputLimit) { // it ended by itself all the same
		return ErrOutputLimit
	}
	return c.outcome(t, what, err, stderr)
}

// late says how long it took until a time that somebody else had set was over.
func late(cause error, began time.Time) error {
	if cause == context.DeadlineExceeded { //nolint:errorlint // one with words of its own keeps them
		return fmt.Errorf("no answer within %s: %w", inSeconds(time.Since(began)), cause)
	}
	return cause
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
	case c.looks && stderr.marked():
		return t.refused(stderr.behindMark())
	case errors.As(err, &exit):
		return &remote.ExitError{Host: t.name, Script: what.name(), Status: exit.ExitStatus(), Stderr: stderr.String()}
	case errors.As(err, new(*ssh.ExitMissingError)), errors.Is(err, io.EOF):
		return remote.ErrUnknownOutcome
	case errors.Is(err, errExecRefused):
		return mistakef(ErrPrivilege, err,
			"sshd on %s lets user %s in and refuses to run a command, as for a login that is for SFTP or forwarding alone; name another user in the spec as ssh.user",
			t.name, t.user)
	}
	return err
}

// errExecRefused is an sshd that opens a session and runs nothing in it.
var errExecRefused = errors.New("no command is run")

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
		if strings.HasPrefix(err.Error(), "ssh: command ") { // it has the whole command, and no type
			return errExecRefused
		}
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
