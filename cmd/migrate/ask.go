package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminalName is the terminal of this program, whatever its standard input
// and output are.
const terminalName = "/dev/tty"

// errNotAnswered is a question that Ctrl-C ended. It is an interruption, and
// does not say so in Go's words.
var errNotAnswered error = notAnswered{}

type notAnswered struct{}

func (notAnswered) Error() string { return "the question was not answered" }
func (notAnswered) Unwrap() error { return context.Canceled }

// askSecret is the function that asks for passphrases and passwords, or nil
// where there is no terminal. A secret is taken from nowhere else: a flag is
// in the list of processes, a variable in every child, a file on a disk.
func askSecret() func(context.Context, string) (string, error) {
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return nil // no terminal, which is no error: there may be nothing to ask
	}
	defer tty.Close()
	if !term.IsTerminal(int(tty.Fd())) {
		return nil
	}
	return new(asker).ask
}

// asker asks until Ctrl-C ends a question. That is meant for the program, not
// for one of its hosts, and the next one does not ask in its turn.
type asker struct{ stopped atomic.Bool }

func (a *asker) ask(ctx context.Context, question string) (string, error) {
	if a.stopped.Load() || !run.MayAsk(ctx) {
		return "", errNotAnswered
	}
	answer, err := askOnTerminal(ctx, question)
	if errors.Is(err, errNotAnswered) {
		a.stopped.Store(true)
	}
	return answer, err
}

// askOnTerminal shows a question and reads a line that is not shown.
func askOnTerminal(ctx context.Context, question string) (string, error) {
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("opening the terminal: %w", err)
	}
	defer tty.Close()
	// Ctrl-C ends the program while the terminal shows nothing that is typed;
	// so it is caught, and the terminal put right first.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	return askOn(ctx, tty, signals, question)
}

// typedLook is how often it is looked whether the answer was typed.
const typedLook = 100 * time.Millisecond

// askOn asks on a terminal. It reads only once a whole line is there, so that
// nothing reads on behind a question that was ended: that reader would take
// what is typed next, whoever that is for. A deadline does not end a question,
// for what is typed would be shown from then on.
func askOn(ctx context.Context, tty *os.File, signals <-chan os.Signal, question string) (_ string, err error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("looking at the terminal: %w", err)
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("hiding what is typed on the terminal: %w", err)
	}
	answered := false
	defer func() {
		how := uint(unix.TCSETSF) // drops what was typed of an answer, which a shell would get
		if answered {
			how = unix.TCSETS
		}
		err = errors.Join(err, unix.IoctlSetTermios(fd, how, before))
	}()
	show.Fprintf(tty, "\r\n%s", question)
	for {
		select {
		case <-signals:
			return "", errNotAnswered
		default:
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return "", context.Cause(ctx)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(typedLook.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return "", fmt.Errorf("waiting for the answer: %w", err)
		}
		if ready > 0 {
			break
		}
	}
	text, err := term.ReadPassword(fd)
	show.Fprintf(tty, "\r\n")
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	answered = true
	return string(text), nil
}
