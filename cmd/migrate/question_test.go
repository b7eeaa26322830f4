package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
	"hamigrate/phases"

	"github.com/urfave/cli/v2"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ typed, want string }{
		"a line":            {"small\n", "small"},
		"no end of line":    {" small", "small"},
		"nothing":           {"", ""},
		"more than a line":  {"small\nother\n", "small"},
		"a line of Windows": {"small\r\n", "small"},
	} {
		if got, err := readAnswer(t.Context(), nil, strings.NewReader(tt.typed)); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	silent, w := io.Pipe()
	defer w.Close()
	if _, err := readAnswer(ended, nil, silent); run.OutcomeOf(err) != 130 {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCtrlCAtAQuestion: one is enough, as nothing is under way, and the run
// ends the way that gives everything back.
func TestCtrlCAtAQuestion(t *testing.T) { //nolint:paralleltest // it sends itself a signal
	silent, w := io.Pipe()
	defer w.Close()
	var said bytes.Buffer
	ctx, stop, done := stopOnSignals(t.Context(), &said, "run")
	defer done()
	run.BeginsToChange(ctx) // in a phase before
	c := cli.NewContext(&cli.App{Reader: silent, ErrWriter: io.Discard}, nil, nil)
	answered := make(chan error, 1)
	go func() { answered <- askForPhase(ctx, c, stop, "small", phases.Phase{Number: 2}) }()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answered:
		// Where the signal came before the question, it was not asked.
		if !errors.Is(err, errNotAnswered) && !errors.Is(err, migrate.ErrStopped) || ctx.Err() != nil {
			t.Errorf("got %v, and the run's context: %v", err, ctx.Err())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the question still waits")
	}
	if !strings.Contains(said.String(), "Stopping as soon as nothing is half done") {
		t.Errorf("said %q", said.String())
	}
	if got := run.HowItEnded(errNotAnswered); run.OutcomeOf(errNotAnswered) != 130 || got != "before a step was begun" {
		t.Errorf("exit code %d, it ended %s", run.OutcomeOf(errNotAnswered), got)
	}
	stopped := make(chan struct{})
	close(stopped)
	if err := askForPhase(t.Context(), c, stopped, "small", phases.Phase{}); !errors.Is(err, migrate.ErrStopped) {
		t.Errorf("stopped before the question: %v", err)
	}
}
