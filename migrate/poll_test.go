package migrate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errNotYet = errors.New("2 of 3 members answer")

func silent(error) {}

func TestPollAsksAtOnceAndThenTwiceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, calls, heard := time.Now(), 0, 0
		_, err := poll(t.Context(), nil, time.Minute, func(error) { heard++ }, func(context.Context) error {
			if want := time.Duration(calls) * pollInterval; time.Since(start) != want {
				t.Errorf("attempt %d after %s, want %s", calls+1, time.Since(start), want)
			}
			if calls++; calls < 4 {
				return errNotYet
			}
			return nil
		})
		if err != nil || calls != 4 || heard != 3 {
			t.Errorf("%v after %d attempts, %d in vain", err, calls, heard)
		}
	})
}

func TestPollExpiryIsAnErrorWithTheLastOneSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := poll(t.Context(), nil, 10*time.Second, silent, func(context.Context) error { return errNotYet })
		var expired *TimeoutError
		if !errors.As(err, &expired) || !errors.Is(err, errNotYet) {
			t.Fatalf("got %v", err)
		}
		if waited := time.Since(start); waited != expired.Waited || waited > 10*time.Second || waited < 9*time.Second {
			t.Errorf("waited %s, and says %s", waited, expired.Waited)
		}
		if !strings.Contains(err.Error(), "after 10s") || !strings.Contains(err.Error(), errNotYet.Error()) {
			t.Errorf("says %q", err)
		}
	})
}

func TestPollBoundsAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		_, err := poll(t.Context(), nil, 90*time.Second, silent, func(ctx context.Context) error {
			if calls++; calls < 3 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if want := 2 * (attemptTimeout + pollInterval); err != nil || calls != 3 || time.Since(start) != want {
			t.Errorf("%v after %d attempts and %s, want 3 and %s", err, calls, time.Since(start), want)
		}
	})
}

// The last attempt has less time than the others; what it says when that is
// over must not hide what the one before it said.
func TestPollKeepsTheBetterError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		_, err := poll(t.Context(), nil, 5*time.Second, silent, func(ctx context.Context) error {
			if calls++; calls == 1 {
				return errNotYet
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, errNotYet) {
			t.Errorf("got %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, err := poll(t.Context(), nil, 50*time.Second, silent, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 20s") {
			t.Errorf("got %v", err)
		}
	})
}

func TestPollEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("asked twice to stop")
	for name, fn := range map[string]func(context.Context) error{
		"between attempts": func(context.Context) error { return errNotYet },
		"in an attempt":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3200*time.Millisecond, func() { cancel(cause) })
				start := time.Now()
				if _, err := poll(ctx, nil, time.Hour, silent, fn); !errors.Is(err, cause) || time.Since(start) != 3200*time.Millisecond {
					t.Errorf("%v after %s", err, time.Since(start))
				}
			})
		})
	}
}
