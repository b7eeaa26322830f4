package probe

import (
	"context"
	"sync"
	"time"
)

const (
	// beat is the rhythm by which this process notices that it runs.
	beat = 25 * time.Millisecond
	// shortStall is what a busy machine does to everybody; it is not noted.
	shortStall = 75 * time.Millisecond
	// stallsKept is how long stalls are remembered: longer than any request.
	stallsKept = time.Minute
)

// pulse notes when this process did not run: stopped, or without a processor.
// A pod that asks for no CPU, as the probe's do, gets none for seconds on a
// node that is busy, for instance while an API server starts there. An answer
// that lay ready all the while is late by this process's fault, and counting
// it would be a verdict on the API that nobody has seen.
//
// A nil pulse and one that has never beaten know of no stall.
type pulse struct {
	mu     sync.Mutex
	last   time.Time // of the beats
	stalls []stall   // in order of time
}

type stall struct{ from, to time.Time }

// run beats until ctx ends.
func (p *pulse) run(ctx context.Context) {
	p.beat(time.Now())
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.beat(time.Now())
		}
	}
}

func (p *pulse) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.stallUntil(now); ok {
		p.stalls = append(p.stalls, s)
	}
	for len(p.stalls) > 0 && now.Sub(p.stalls[0].to) > stallsKept {
		p.stalls = p.stalls[1:]
	}
	p.last = now
}

// stallUntil is the stall that lasts up to now; p.mu is held.
func (p *pulse) stallUntil(now time.Time) (stall, bool) {
	if p.last.IsZero() || now.Sub(p.last) <= beat+shortStall {
		return stall{}, false
	}
	return stall{p.last.Add(beat), now}, true
}

// missed is for how long the process did not run between two instants.
func (p *pulse) missed(from, to time.Time) time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum time.Duration
	add := func(s stall) {
		begin, end := s.from, s.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(end.Sub(begin), 0)
	}
	for _, s := range p.stalls {
		add(s)
	}
	if s, ok := p.stallUntil(to); ok {
		add(s)
	}
	return sum
}
