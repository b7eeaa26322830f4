package run

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
)

// TestAwaitReady: it waits as long as it is worth it, says so once, and ends
// at once when it is stopped.
func TestAwaitReady(t *testing.T) {
	for _, tt := range []struct {
		name        string
		ready, stop time.Duration // after which it is so; 0: never
		want        error
		took        time.Duration
		told        int
	}{
		{name: "ready", ready: 1, took: 0, told: 0},
		{name: "starting", ready: 12500 * time.Millisecond, took: 13 * time.Second, told: 1},
		{name: "never ready is left to who asks next", took: time.Minute, told: 1},
		{name: "stopped", ready: 30 * time.Second, stop: 2500 * time.Millisecond, want: migrate.ErrStopped, took: 2500 * time.Millisecond, told: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, stop, told := time.Now(), make(chan struct{}), 0
				time.Sleep(time.Nanosecond)
				if tt.stop > 0 {
					time.AfterFunc(tt.stop, func() { close(stop) })
				}
				err := awaitReady(t.Context(), stop, time.Minute, func(context.Context) error {
					if tt.ready > 0 && time.Since(begun) >= tt.ready {
						return nil
					}
					return errors.New("connection refused")
				}, func(error) { told++ })
				if took := time.Since(begun); !errors.Is(err, tt.want) || took.Truncate(100*time.Millisecond) != tt.took || told != tt.told {
					t.Errorf("%v after %s, told %d times; want %v after %s, told %d times", err, took, told, tt.want, tt.took, tt.told)
				}
			})
		})
	}
}

// TestAwaitReadyEndsWithItsContext: Ctrl-C twice.
func TestAwaitReadyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitReady(ctx, nil, time.Minute, func(ctx context.Context) error { return ctx.Err() }, func(error) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
