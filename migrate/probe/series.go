package probe

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// series is everything known of one kind of request through one path.
// It is safe for concurrent use.
type series struct {
	kind   Kind
	logger hclog.Logger

	mu        sync.Mutex
	seq       uint64
	gaps      gaps
	mark      time.Time // requests sent before it belong to quiet; zero: no quiet part
	quiet     stats
	run       stats
	lastErr   string
	lastErrAt time.Time

	warnedAt time.Time // when a run of failures was logged last
	warned   bool      // the present run of failures was logged
}

// logEvery bounds the log of a series that fails now and then: there is at
// most one line in this time, and one when that run of failures is over.
const logEvery = 10 * time.Second

func newSeries(kind Kind, interval time.Duration, logger hclog.Logger) *series {
	return &series{kind: kind, logger: logger, gaps: gaps{interval: interval}}
}

// ticket is one request between its sending and its outcome.
type ticket struct {
	seq uint64
	at  time.Time
}

// send notes that a request that was due then is being sent now.
func (s *series) send(due time.Time) ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := ticket{seq: s.seq, at: time.Now()}
	s.seq++
	st := s.part(t.at)
	st.late = max(st.late, t.at.Sub(due))
	return t
}

// done notes the outcome of a request; again is how often it was
// made again below the probe.
func (s *series) done(t ticket, again again, err error) {
	took := time.Since(t.at)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.part(t.at)
	st.requests++
	st.replays += again.replays
	st.retries += again.retries
	st.note(t.at, took, err == nil)
	if err == nil {
		st.sample(took)
	} else {
		s.failed(st, t.at, err)
	}
	s.order(t, outcome{at: t.at, ok: err == nil})
}

// discard takes a request out of the account: it was cut short by the
// probe's own stopping and says nothing about the API.
func (s *series) discard(t ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order(t, outcome{at: t.at, discarded: true})
}

// unjudged takes a request out of the account that had no answer in time, while
// this process did not run for most of that time.
func (s *series) unjudged(t ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.part(t.at).unjudged++
	s.order(t, outcome{at: t.at, discarded: true})
}

// order hands an outcome to the gap finder and reports what changed.
func (s *series) order(t ticket, o outcome) {
	was := s.gaps.failing
	for _, end := range s.gaps.add(t.seq, o) {
		st := s.part(end.at)
		st.gap = max(st.gap, end.length)
		if s.warned {
			s.logger.Info("requests succeed again", "gap", end.length.Round(time.Millisecond))
		}
		s.warned = false
	}
	if !was && s.gaps.failing {
		s.warn("requests fail")
	}
}

// warn logs the beginning of a run of failures; s.mu is held.
func (s *series) warn(message string) {
	if s.warned = time.Since(s.warnedAt) >= logEvery; s.warned {
		s.warnedAt = time.Now()
		s.logger.Warn(message, "since", s.gaps.firstFail.Format(time.RFC3339Nano), "error", s.lastErr)
	}
}

// watchRequest notes the outcome of a list or watch request of a watcher.
// These are no latency samples: those of a watch are its events.
func (s *series) watchRequest(at time.Time, restart bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.part(at)
	st.requests++
	if restart {
		st.restarts++
	}
	if err != nil {
		st.note(at, 0, false)
		s.failed(st, at, err)
	}
	was := s.gaps.failing
	s.gaps.failing = err != nil
	if err != nil && !was {
		s.gaps.firstFail = at
		s.warn("watch requests fail")
	}
	if err == nil && s.warned {
		s.logger.Info("watch requests succeed again")
		s.warned = false
	}
}

// watchGap notes that there was no watch for a time that ends now.
func (s *series) watchGap(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	st := s.part(now)
	st.gap = max(st.gap, now.Sub(since))
}

// event notes the arrival of the event of a write sent at the given time.
func (s *series) event(sent, arrived time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.part(sent)
	st.requests++
	st.events++
	st.note(sent, arrived.Sub(sent), true)
	st.sample(arrived.Sub(sent))
}

// missed notes that the event of an acknowledged write never arrived.
func (s *series) missed(sent time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.part(sent)
	st.requests++
	st.events++
	st.missed++
	st.note(sent, 0, false)
	s.failed(st, sent, err)
}

// connected notes that a connection was opened.
func (s *series) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.connections++
}

// skip notes requests that were due while this process did not run.
func (s *series) skip(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.skipped += n
}

// failed counts a failure in st of what was sent then; s.mu is held.
func (s *series) failed(st *stats, at time.Time, err error) {
	st.fail(failure(at, err))
	s.lastErr, s.lastErrAt = err.Error(), time.Now()
}

// part is the part of the measurement to which a sending time belongs; s.mu
// is held.
func (s *series) part(at time.Time) *stats {
	if at.Before(s.mark) {
		return &s.quiet
	}
	return &s.run
}

// endQuiet makes all requests sent so far the quiet measurement.
func (s *series) endQuiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark, s.quiet, s.run = time.Now(), s.run, stats{}
}
