package probe

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// maxSamples bounds the memory of one series: 2 MB, seven hours at 20
// requests a second. Above it the samples are a uniform random choice.
const maxSamples = 500_000

// maxReasons bounds the number of different reasons kept for a series.
const maxReasons = 20

// otherReasons gathers what comes after maxReasons.
const otherReasons = "other reasons"

// stats are the figures of one series in one part of the measurement.
type stats struct {
	requests, failures int
	skipped, replays   int
	retries, unjudged  int
	events, missed     int
	restarts           int
	connections        int
	reasons            map[string]int
	failed             []Failure // the first of them

	samples []int32 // microseconds of requests that succeeded
	sampled int     // how many samples there were to choose from
	max     time.Duration
	gap     time.Duration
	late    time.Duration // by which a request was sent after it was due
	slots   []Slot        // in order of time
}

func (s *stats) fail(f Failure) {
	s.failures++
	if len(s.failed) < maxFailures {
		s.failed = append(s.failed, f)
	}
	reason := f.Reason
	if s.reasons == nil {
		s.reasons = map[string]int{}
	}
	if _, known := s.reasons[reason]; !known && len(s.reasons) >= maxReasons {
		reason = otherReasons
	}
	s.reasons[reason]++
}

// sample keeps one latency (algorithm R above maxSamples).
func (s *stats) sample(d time.Duration) {
	d = max(d, 0)
	s.max = max(s.max, d)
	s.sampled++
	us := int32(min(d.Microseconds(), math.MaxInt32))
	if len(s.samples) < maxSamples {
		s.samples = append(s.samples, us)
		return
	}
	if i := rand.IntN(s.sampled); i < maxSamples {
		s.samples[i] = us
	}
}

// percentiles returns the nearest-rank percentiles of samples in
// milliseconds, 0 without samples. It sorts samples.
func percentiles(samples []int32, ps ...float64) []float64 {
	slices.Sort(samples)
	out := make([]float64, len(ps))
	for i, p := range ps {
		if len(samples) == 0 {
			continue
		}
		rank := int(math.Ceil(p / 100 * float64(len(samples))))
		out[i] = float64(samples[min(max(rank, 1), len(samples))-1]) / 1000
	}
	return out
}

// gaps finds the longest gap of a series. The outcomes of an open loop arrive
// out of order (a request that times out is known two seconds later than the
// ones sent after it), but a run of failures only means something in the
// order of sending, so an outcome waits here for those sent before it.
//
//	sent      1   2   3   4   5   6
//	outcome   ok  ok  X   X   X   ok
//	              |--- gap + interval ---|
//
// The gap is the time from sending the last request that succeeded before the
// failures to sending the first one that succeeded after them, minus one
// interval: what the API was away beyond the rhythm of asking.
type gaps struct {
	interval time.Duration
	next     uint64
	waiting  map[uint64]outcome

	lastOK    time.Time // sending time of the last success
	last      time.Time // sending time of the last request
	failing   bool
	firstFail time.Time // with failing: sending time of the first failure
}

// outcome is what became of one request of a series.
type outcome struct {
	at        time.Time // when it was sent
	ok        bool
	discarded bool // says nothing: it was cut short by our own stopping
}

// gapEnd is a run of failures that a success has ended.
type gapEnd struct {
	length time.Duration
	at     time.Time
}

// add takes the outcome of request seq and returns the gaps that ended.
func (g *gaps) add(seq uint64, o outcome) []gapEnd {
	if g.waiting == nil {
		g.waiting = map[uint64]outcome{}
	}
	g.waiting[seq] = o
	var ended []gapEnd
	for {
		o, ok := g.waiting[g.next]
		if !ok {
			return ended
		}
		delete(g.waiting, g.next)
		g.next++
		if end, ok := g.step(o); ok {
			ended = append(ended, end)
		}
	}
}

func (g *gaps) step(o outcome) (gapEnd, bool) {
	if o.discarded {
		return gapEnd{}, false
	}
	g.last = o.at
	if !o.ok {
		if !g.failing {
			g.failing, g.firstFail = true, o.at
		}
		if g.lastOK.IsZero() {
			g.lastOK = o.at.Add(-g.interval)
		}
		return gapEnd{}, false
	}
	end, ended := gapEnd{length: g.length(o.at), at: o.at}, g.failing
	g.failing, g.lastOK = false, o.at
	return end, ended
}

// open is the gap of the failures that no success has ended: as if the
// request after the last one had succeeded.
func (g *gaps) open() time.Duration {
	if !g.failing {
		return 0
	}
	return g.length(g.last.Add(g.interval))
}

// length is the gap if it ended with a success sent at the given time.
func (g *gaps) length(end time.Time) time.Duration {
	return max(end.Sub(g.lastOK)-g.interval, 0)
}
