package probe

import (
	"context"
	"errors"
	"sync"
	"time"
)

// minWaiting is how many requests of one series may always wait for an answer
// at the same time.
const minWaiting = 64

// maxLate is how far the loop may lag behind its schedule and catch up. What
// was due earlier was due while this process did not run (stopped, machine
// suspended): sending it in a burst would measure us and not the API.
const maxLate = time.Second

var errTooManyWaiting = errors.New("not sent: too many waiting")

// openLoop sends one request an interval, whatever became of those before.
type openLoop struct {
	series   *series
	interval time.Duration
	offset   time.Duration // of the first request, so that series do not go in step
	timeout  time.Duration // an answer after it is a failure
	pulse    *pulse
	// send makes one request and returns its failure. n counts from 0.
	send func(ctx context.Context, n uint64) error
}

// run sends until ctx ends, then waits for what is in flight. work is the
// context of the requests: they outlive ctx, and when work ends they are cut
// short and left out of the account.
func (l *openLoop) run(ctx, work context.Context) {
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, l.maxWaiting())
	due := time.Now().Add(l.offset)
	timer := time.NewTimer(l.offset)
	defer timer.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		due = l.catchUp(due)
		at := due
		select {
		case slots <- struct{}{}:
			inFlight.Go(func() {
				defer func() { <-slots }()
				l.one(work, n, at)
			})
		default:
			l.series.done(l.series.send(at), again{}, errTooManyWaiting)
		}
		due = due.Add(l.interval)
		timer.Reset(time.Until(due))
	}
}

// catchUp returns when the present request is due, after leaving out those
// that were due too long ago.
func (l *openLoop) catchUp(due time.Time) time.Time {
	late := time.Since(due)
	if late <= maxLate {
		return due
	}
	behind := late / l.interval
	l.series.skip(int(behind))
	return due.Add(behind * l.interval)
}

// maxWaiting bounds the requests that wait at the same time. There is room for
// all that can be due within the timeout, and half as many again: a smaller
// bound would keep new requests from being sent after a server that hung for
// a moment is back, and so make its outage look longer.
func (l *openLoop) maxWaiting() int {
	return max(minWaiting, int(l.timeout/l.interval)*3/2)
}

func (l *openLoop) one(work context.Context, n uint64, due time.Time) {
	ctx, cancel := context.WithTimeout(work, l.timeout)
	defer cancel()
	ctx, att := observe(ctx)
	t := l.series.send(due)
	err := l.send(ctx, n)
	if err == nil {
		err = att.unanswered()
	}
	err = att.explain(err, l.timeout)
	if err != nil && work.Err() != nil {
		l.series.discard(t)
		return
	}
	if err == nil && time.Since(t.at) > l.timeout {
		// The answer came after the context's end and was read all the same.
		att.stage.Store(int32(stageAnswer))
		err = att.explain(context.DeadlineExceeded, l.timeout)
	}
	var late *timeoutError
	if errors.As(err, &late) && l.pulse.missed(t.at, time.Now()) > l.timeout/2 {
		l.series.unjudged(t)
		return
	}
	l.series.done(t, att.again(), err)
}
