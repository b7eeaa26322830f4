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
)

// poll calls fn at once and then again and again until it returns nil (poll
// returns nil), limit is over (a *TimeoutError with the last error), or ctx
// is done (its cause). After each attempt in vain it calls said with the
// error. It is the only place of the engine that waits.
//
// waited is from the beginning of the first attempt to that of the last one:
// for so long the world was not there yet. The last attempt itself is not in
// it, since asking takes its time also where there is nothing to wait for.
func poll(ctx context.Context, limit time.Duration, said func(error), fn func(context.Context) error) (waited time.Duration, err error) {
	start := time.Now()
	var last error
	for {
		waited = time.Since(start)
		err, cut := attempt(ctx, limit-waited, fn)
		switch {
		case err == nil:
			return waited, nil
		case ctx.Err() != nil:
			return waited, context.Cause(ctx)
		case !cut || last == nil:
			// The error of an attempt cut short by the limit says nothing
			// that the attempt before it did not say better.
			last = err
		}
		said(last)
		if limit-time.Since(start) < pollInterval {
			return waited, &TimeoutError{Waited: time.Since(start), Last: last}
		}
		timer := time.NewTimer(pollInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return waited, context.Cause(ctx)
		}
	}
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
