package migrate

import (
	"context"
	"fmt"
	"time"
)

const (
	// pollInterval is between the end of one attempt and the next.
	pollInterval = 500 * time.Millisecond
	// attemptTimeout bounds one attempt, so that one lost packet does not eat
	// the whole wait.
	attemptTimeout = 20 * time.Second
	// quiet is how long a wait may go on before it says what it waits for.
	quiet = 5 * time.Second
	// lastLook is how long the attempt at hand may go on once a wait is told to
	// stop: what was done a moment ago is mostly so already, and is better seen
	// now than by the next run.
	lastLook = 2 * time.Second
)

// poll calls fn at once and then again and again until it returns nil (poll
// returns nil), it says that no waiting helps (its error, see Hopeless), stop
// is closed (ErrStopped), limit is over (a *TimeoutError with the last error),
// or ctx is done (its cause). After each attempt in vain it calls said with the
// error. It is the only place of the engine that waits. A nil stop is never
// closed; fn is called once also where stop was closed before.
//
// waited is from the beginning of the first attempt to that of the last one:
// for so long the world was not there yet. The last attempt itself is not in
// it, since asking takes its time also where there is nothing to wait for.
func poll(ctx context.Context, stop <-chan struct{}, limit time.Duration, said func(error), fn func(context.Context) error) (waited time.Duration, err error) {
	asking, done := untilStopped(ctx, stop)
	defer done()
	start := time.Now()
	var last error
	for {
		waited = time.Since(start)
		err, cut := attempt(asking, limit-waited, fn)
		switch {
		case err == nil:
			return waited, nil
		case asking.Err() != nil:
			return waited, context.Cause(asking)
		case !cut || last == nil:
			// The error of an attempt cut short by the limit says nothing
			// that the attempt before it did not say better.
			last = err
		}
		said(last)
		if IsHopeless(err) {
			return waited, err
		}
		if limit-time.Since(start) < pollInterval {
			return waited, &TimeoutError{Waited: time.Since(start), Last: last}
		}
		timer := time.NewTimer(pollInterval)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return waited, ErrStopped
		case <-ctx.Done():
			timer.Stop()
			return waited, context.Cause(ctx)
		}
	}
}

// untilStopped ends with ctx, and a moment after stop is closed, then with the
// cause ErrStopped.
func untilStopped(ctx context.Context, stop <-chan struct{}) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if stop != nil {
		go func() {
			select {
			case <-stop:
			case <-ctx.Done():
				return
			}
			last := time.NewTimer(lastLook)
			defer last.Stop()
			select {
			case <-last.C:
				cancel(ErrStopped)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// attempt calls fn once, for at most attemptTimeout or what is left of the
// limit. cut says that the limit, not the attempt's own timeout, ended it.
func attempt(ctx context.Context, left time.Duration, fn func(context.Context) error) (err error, cut bool) {
	bounded, cancel := context.WithTimeout(ctx, min(left, attemptTimeout))
	defer cancel()
	if err = fn(bounded); err == nil || bounded.Err() == nil || ctx.Err() != nil {
		return err, false
	}
	if left < attemptTimeout {
		return err, true
	}
	return fmt.Errorf("no answer within %s: %w", attemptTimeout, err), false
}
