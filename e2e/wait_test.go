package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// attemptTimeout bounds one look at the world: a connection that hangs is an
// answer too.
const attemptTimeout = 15 * time.Second

// soon is the context of one look that is not repeated.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptTimeout)
	t.Cleanup(cancel)
	return ctx
}

// eventually repeats a look until it returns nil. When limit has passed the
// stage fails with what the last look said.
func eventually(t *testing.T, limit time.Duration, what string, look func(context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), limit, look); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// poll is eventually for those who go on after an error.
func poll(ctx context.Context, limit time.Duration, look func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		attempt, done := context.WithTimeout(ctx, attemptTimeout)
		err := look(attempt)
		done()
		switch {
		case err == nil:
			return nil
		case last == nil || ctx.Err() == nil:
			last = err // else: cut off by the end of the wait, and says less than the one before
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("timed out after %s; seen last: %w", limit, last)
		case <-tick.C:
		}
	}
}
