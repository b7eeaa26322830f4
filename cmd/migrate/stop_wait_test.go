package main

import (
	"io"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
)

// The first TERM asks to stop, and cancels no step.
func TestOneTermAsksToStop(t *testing.T) {
	ctx, stop, done := stopOnSignals(t.Context(), io.Discard, "run")
	defer done()
	run.ChangingWith(ctx).Event(migrate.Event{Kind: migrate.EventStepStarted})
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stop:
	case <-time.After(10 * time.Second):
		t.Fatal("it was not heard")
	}
	if ctx.Err() != nil {
		t.Error("the first one has cancelled the run")
	}
}
