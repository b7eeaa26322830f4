package probe

import "time"

// Live is what the probe knows while it runs, for a line on the screen and
// for deciding whether to go on.
type Live struct {
	At    time.Time
	Paths []LivePath
}

// LivePath is one path from one place, all kinds together. Requests and
// Failures leave the quiet measurement out.
type LivePath struct {
	Name, From         string
	Requests, Failures int
	// LastError is the last failure's kind and text, LastErrorAt when it was
	// noted; both of the whole measurement.
	LastError   string
	LastErrorAt time.Time
	// DownSince is when the first of the requests that fail at present was
	// sent, of whatever kind failed first; zero when none does. A request
	// that hangs is only known to fail after Config.Timeout.
	DownSince time.Time
}

// Down says whether requests of any kind fail at present.
func (l LivePath) Down() bool { return !l.DownSince.IsZero() }

// Failures is the number of failed requests on all paths.
func (l Live) Failures() int {
	total := 0
	for _, p := range l.Paths {
		total += p.Failures
	}
	return total
}

// DownFor is the longest time for which a path has been down until now.
func (l Live) DownFor() time.Duration {
	var longest time.Duration
	for _, p := range l.Paths {
		if p.Down() {
			longest = max(longest, l.At.Sub(p.DownSince))
		}
	}
	return longest
}

// Snapshot returns the present figures. It is cheap.
func (p *Probe) Snapshot() Live {
	live := Live{At: time.Now()}
	for _, pp := range p.probes() {
		lp := LivePath{Name: pp.path.Name, From: pp.path.From}
		for _, s := range pp.series {
			s.live(&lp)
		}
		live.Paths = append(live.Paths, lp)
	}
	return live
}

func (s *series) live(lp *LivePath) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lp.Requests += s.run.requests
	lp.Failures += s.run.failures
	if s.lastErrAt.After(lp.LastErrorAt) {
		lp.LastError, lp.LastErrorAt = string(s.kind)+": "+s.lastErr, s.lastErrAt
	}
	if s.gaps.failing && (lp.DownSince.IsZero() || s.gaps.firstFail.Before(lp.DownSince)) {
		lp.DownSince = s.gaps.firstFail
	}
}
