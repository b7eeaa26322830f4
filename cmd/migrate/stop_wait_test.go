package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/state"
)

// A wait that ended as asked is a stop, by exit code 4 and by what is said at
// the end, also where it is told why the run was to stop.
func TestAStoppedWaitIsAStop(t *testing.T) {
	t.Parallel()
	where := migrate.Where{Phase: 1, Step: "loadbalancer/kube-proxy", Target: "cluster"}
	for want, status := range map[string]state.Status{
		"nothing is half done, and the next run verifies it": state.Applied,
		"what comes next looks and goes on from there":       state.Undoing,
	} {
		err := fmt.Errorf("another run has the cluster: %w", &migrate.StoppedError{Where: where, Op: migrate.OpVerify, Status: status, Last: errors.New("1 of 3 nodes")})
		if code := exitCode(err); code != 4 {
			t.Errorf("%s: exit code %d", status, code)
		}
		if said := howItEnded(err); !strings.Contains(said, want) || !strings.Contains(said, "while loadbalancer/kube-proxy on cluster was waited for") {
			t.Errorf("%s: %q", status, said)
		}
		if !strings.Contains(err.Error(), "1 of 3 nodes") {
			t.Errorf("%v", err)
		}
	}
}

// The first TERM asks to stop, and cancels no step.
func TestOneTermAsksToStop(t *testing.T) {
	ctx, stop, done := stopOnSignals(t.Context(), io.Discard, "run")
	defer done()
	changingWith(ctx).Event(migrate.Event{Kind: migrate.EventStepStarted})
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
