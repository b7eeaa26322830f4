package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

// lockedBuffer is written to by a goroutine while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestALostTerminalAsksToStop: a terminal that closes and an output that nobody
// reads ask for a safe stop, however often they come; Ctrl-C twice stops at once,
// also after them. It is not parallel: signals are the process's.
func TestALostTerminalAsksToStop(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) { // the tests run under nohup
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		defer signal.Ignore(syscall.SIGHUP)
	}
	for name, lose := range map[string]func(*testing.T){
		"the terminal": func(t *testing.T) { send(t, syscall.SIGHUP) },
		"the reader":   writeToNobody,
	} {
		t.Run(name, func(t *testing.T) {
			var said lockedBuffer
			ctx, stop, done := stopOnSignals(t.Context(), &said, "run")
			defer done()
			run.BeginsToChange(ctx)
			for range 3 {
				lose(t)
			}
			select {
			case <-stop:
			case <-time.After(10 * time.Second):
				t.Fatal("the run was not asked to stop")
			}
			send(t, syscall.SIGINT) // that of the terminal which ended the reader
			if !strings.Contains(said.String(), "stopping as soon as nothing is half done; `migrate run` goes on then") {
				t.Errorf("said %q", said.String())
			}
			select {
			case <-ctx.Done():
				t.Fatalf("the step at hand was cut off; said %q", said.String())
			case <-time.After(100 * time.Millisecond):
			}
			send(t, syscall.SIGINT)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("Ctrl-C twice did not stop at once")
			}
			if !strings.Contains(said.String(), "Stopping now") || strings.Count(said.String(), "half done") != 1 {
				t.Errorf("said %q", said.String())
			}
		})
	}
}

// send sends this process a signal.
func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

// writeToNobody writes to an output whose other end is closed: it is as if written,
// and nothing else is done otherwise.
func writeToNobody(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.WriteString(output{file: w}, "a line"); n != 6 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

// TestALostConnectionDoesNotAsk: what is no output of the program has its error.
func TestALostConnectionDoesNotAsk(t *testing.T) {
	_, stop, done := stopOnSignals(t.Context(), io.Discard, "run")
	defer done()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "a request"); !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	select {
	case <-stop:
		t.Error("a connection was lost, and the run was asked to stop")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestNohupIsObeyed: who has told the program to ignore HUP wants it to go on.
func TestNohupIsObeyed(t *testing.T) {
	ignoreHangups(t)
	ctx, stop, done := stopOnSignals(t.Context(), io.Discard, "run")
	defer done()
	send(t, syscall.SIGHUP)
	select {
	case <-stop:
		t.Error("HUP is ignored, and stopped the run")
	case <-time.After(100 * time.Millisecond):
	}
	if context.Cause(ctx) != nil {
		t.Error(context.Cause(ctx))
	}
}

// ignoreHangups does what nohup does, for one test.
func ignoreHangups(t *testing.T) {
	t.Helper()
	signal.Ignore(syscall.SIGHUP)
	t.Cleanup(func() { // Reset alone leaves it among the ignored ones
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGHUP)
		signal.Stop(c)
	})
}

// TestBeforeAChangeOneSignalIsEnough: nothing is half done, so whatever signal
// it is cancels what is looked at, and the exit code is that of an interruption.
func TestBeforeAChangeOneSignalIsEnough(t *testing.T) {
	for name, lose := range map[string]func(*testing.T){
		"INT":        func(t *testing.T) { send(t, syscall.SIGINT) },
		"TERM":       func(t *testing.T) { send(t, syscall.SIGTERM) },
		"HUP":        func(t *testing.T) { send(t, syscall.SIGHUP) },
		"the reader": writeToNobody,
	} {
		t.Run(name, func(t *testing.T) {
			var said lockedBuffer
			ctx, stop, done := stopOnSignals(t.Context(), &said, "run")
			defer done()
			run.ChangingWith(ctx).Event(migrate.Event{Kind: migrate.EventStepSatisfied}) // which was only looked at
			lose(t)
			for _, ended := range []<-chan struct{}{ctx.Done(), stop} {
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Fatal("it goes on")
				}
			}
			err := run.InOwnWords(ctx, fmt.Errorf("connecting to cp1: %w", context.Cause(ctx)))
			if run.OutcomeOf(err) != 130 || err.Error() != "stopped by a signal: this command has changed nothing on the cluster" || run.HowItEnded(err) != "before a step was begun" {
				t.Errorf("got %v, exit code %d, ended %s", err, run.OutcomeOf(err), run.HowItEnded(err))
			}
		})
	}
}

// TestALookEndsWithASignal, also where what it has looked at was no context of
// its own.
func TestALookEndsWithASignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		looks := looking(func(c *cli.Context) error {
			send(t, sig)
			<-c.Context.Done()
			return errors.New("context canceled")
		})
		if err := looks(cli.NewContext(cli.NewApp(), nil, &cli.Context{Context: t.Context()})); !errors.Is(err, run.ErrSignalled) || run.OutcomeOf(err) != 130 {
			t.Errorf("%v: got %v", sig, err)
		}
	}
	done := looking(func(*cli.Context) error { return nil })
	if err := done(cli.NewContext(cli.NewApp(), nil, nil)); err != nil {
		t.Error(err)
	}
}

// TestASignalBesideTheFirstChange: where the journal has a step begun, the error says
// what is known of it, and not that nothing was changed.
func TestASignalBesideTheFirstChange(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(run.ErrSignalled)
	for status, own := range map[state.Status]bool{state.Pending: true, state.Verified: true, state.Started: false, state.Undoing: false} {
		err := error(&migrate.InterruptedError{Status: status})
		if got := errors.Is(run.InOwnWords(ctx, err), run.ErrSignalled); got != own {
			t.Errorf("%s: %v", status, run.InOwnWords(ctx, err))
		}
	}
}
