package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

// looking makes the action of a command that only looks end at once with the
// first INT, TERM or HUP, and in its own words: what was asked of hosts is given
// up, and what a look has made for a moment is taken away. The second signal
// ends the program.
func looking(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, done := untilSignalled(c.Context)
		defer done()
		c.Context = ctx
		return run.InOwnWords(ctx, action(c))
	}
}

// untilSignalled is a context that the first INT, TERM or HUP ends, with the cause
// run.ErrSignalled. The second one ends the program.
func untilSignalled(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-signals:
			cancel(run.ErrSignalled)
		case <-ended:
		}
		signal.Stop(signals)
	}()
	return ctx, func() { close(ended); cancel(nil) }
}

// stopOnSignals: until something is changed (see stopping), the first signal
// cancels what is under way. From then on the first Ctrl-C (or TERM) asks the run
// to stop after the step at hand, and the second cancels it. A terminal that
// closes (HUP) and an output that nobody reads any more (with `| tee` one Ctrl-C
// ends tee as well) ask, too, and are never taken for a second one. Without this
// they would end the program in the middle of a step. command is what goes on
// afterwards, "" for nothing: a rehearsal has its own end.
func stopOnSignals(ctx context.Context, w io.Writer, command string) (_ context.Context, stop <-chan struct{}, done func()) {
	changesBegun.Store(true)
	ctx, made := run.WithChanges(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	signals, gone := make(chan os.Signal, 2), make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// These two last to the program's end: what is said last may find no reader
	// either, and the exit code is to be seen all the same. PIPE says nothing of
	// which output it is about, and may come of a connection that was lost: nobody
	// takes it from its channel. Ignored, it would be so for programs that are
	// started, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(gone, syscall.SIGHUP)
	}
	var goesOn, unknown string
	if command != "" {
		goesOn = fmt.Sprintf("; `migrate %s` goes on then", command)
		unknown = fmt.Sprintf(": the outcome of the step at hand will be unknown until `migrate %s` looks at it again", command)
	}
	stopping, finished := make(chan struct{}), make(chan struct{})
	go func() {
		asked, pressed := false, false
		ask := func(why string) {
			if !asked {
				show.Fprintf(w, "\n%stopping as soon as nothing is half done%s. Ctrl-C again stops at once.\n", why, goesOn)
				close(stopping)
			}
			asked = true
		}
		for {
			why, heard := nextSignal(finished, gone, signals)
			if !heard {
				return
			}
			if !asked && made.UnlessMade(func() { cancel(run.ErrSignalled) }) {
				signal.Stop(signals) // a second one ends the program
				close(stopping)
				return
			}
			if why != pressedWhy {
				ask(why)
				continue
			}
			if pressed {
				show.Fprintf(w, "\nStopping now%s.\n", unknown)
				cancel(context.Canceled)
				signal.Stop(signals) // a third one ends the program
				return
			}
			pressed = true
			ask(why)
		}
	}()
	return ctx, stopping, func() { signal.Stop(signals); close(finished); cancel(nil) }
}

// pressedWhy begins the sentence for a signal that somebody sent.
const pressedWhy = "S"

// nextSignal waits for what asks to stop, and returns how the sentence about it
// begins; heard is false when the command has ended.
func nextSignal(finished <-chan struct{}, gone, signals <-chan os.Signal) (why string, heard bool) {
	select {
	case <-finished:
		return "", false
	case <-gone:
		return "The terminal is gone: s", true
	case <-unread:
		return "Nobody reads this any more: s", true
	case <-signals:
		return pressedWhy, true
	}
}

// unread has a word when nobody reads one of the program's outputs any more.
var unread = make(chan struct{}, 1)

// output is the standard output or that for errors. What is shown goes to the log as
// well, and first: a reader that has stopped reading holds up what is shown.
type output struct {
	file *os.File
	kind runlog.Kind     // runlog.Out or runlog.Err
	log  *commandlog.Log // nil: none
	// patience is for outputs that a person reads: a script gets all of it, however
	// long that takes. Nil: none.
	patience *patience
}

// newOutput is one of the program's outputs. Events for scripts go to the standard
// output where that is no terminal.
func newOutput(file *os.File, kind runlog.Kind, log *commandlog.Log) output {
	o := output{file: file, kind: kind, log: log}
	if kind == runlog.Err || show.IsTerminal(file) {
		o.patience = newPatience()
	}
	return o
}

// Fd is the file's descriptor: whether that is a terminal, and how wide, is asked of it.
func (o output) Fd() uintptr { return o.file.Fd() }

// Write tells unread of a reader that has gone. What can't be written is in the log
// alone then, and no reason for whoever writes to do otherwise. The same where the
// terminal has gone (EIO), which HUP has told already, if it was to.
func (o output) Write(p []byte) (int, error) {
	o.log.Shown(o.kind, p)
	n, err := show.Guard{W: writerFunc(o.write)}.Write(p)
	if err == nil {
		return n, nil
	}
	o.log.Lost(o.kind, err)
	switch {
	case errors.Is(err, errHeldUp):
		return len(p), nil
	case errors.Is(err, syscall.EPIPE):
		select {
		case unread <- struct{}{}:
		default:
		}
		return len(p), nil
	case errors.Is(err, syscall.EIO):
		return len(p), nil
	}
	return n, err
}

func (o output) write(p []byte) (int, error) {
	if o.patience == nil || !changesBegun.Load() {
		return o.file.Write(p)
	}
	return o.patience.write(o.file, p)
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
