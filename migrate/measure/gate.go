package measure

import (
	"fmt"
	"sync"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/probe"
)

// knownLate is how long after its sending a request may be known to have
// failed: the probe's timeout, a look every second, and two seconds for nodes
// that are slow to be asked.
const knownLate = probe.DefaultTimeout + 5*time.Second

// gate asks a run to stop when clients can't use the API and the step at hand
// has not announced that.
type gate struct {
	mu sync.Mutex
	// most is how long the API may be away beyond what was announced. 0 means
	// that not a single request may fail.
	most      time.Duration
	announced time.Duration // by the step at hand
	until     time.Time     // what fails until then may be the announced step's; zero: no end yet
	step      string
	failures  int // accepted so far
	reason    string
	stop      chan struct{} // closed: stop at the next safe point
}

func newGate(most time.Duration) *gate {
	return &gate{most: most, step: "the time before the first step", stop: make(chan struct{})}
}

// Event keeps in mind what the step at hand has announced.
func (g *gate) Event(e migrate.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch e.Kind {
	case migrate.EventStepStarted:
		g.step = fmt.Sprintf("%q on %s", e.Title, e.Target)
		if e.Outage > 0 {
			g.announced, g.until = e.Outage, time.Time{}
		}
	case migrate.EventStepDone, migrate.EventStepFailed:
		if g.announced > 0 && g.until.IsZero() {
			g.until = e.At.Add(knownLate)
		}
	}
}

// accept makes the failures until now no reason to stop.
func (g *gate) accept(live probe.Live) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = live.Failures()
}

// allow makes the API be away for as long as that beyond what was announced, or for
// longer, where it may already.
func (g *gate) allow(most time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(g.most, most)
}

// look compares what clients see with what was announced.
func (g *gate) look(live probe.Live) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reason != "" {
		return
	}
	if !g.until.IsZero() && live.At.After(g.until) {
		g.announced, g.until = 0, time.Time{}
	}
	down, failures := live.DownFor(), live.Failures()
	switch {
	case g.announced > 0 && down <= g.announced+g.most:
		g.failures = failures
	case g.announced > 0:
		g.trip(live, fmt.Sprintf("the API has been away for %.0f s, and %.0f s were announced", down.Seconds(), g.announced.Seconds()))
	case g.most == 0 && failures > g.failures:
		g.trip(live, fmt.Sprintf("%d requests failed", failures-g.failures))
	case g.most > 0 && down > g.most:
		g.trip(live, fmt.Sprintf("the API has been away for %.1f s", down.Seconds()))
	}
}

// trip asks the run to stop; g.mu is held.
func (g *gate) trip(live probe.Live, what string) {
	g.reason = fmt.Sprintf("clients of the API were disturbed during %s: %s", g.step, what)
	var at time.Time
	for _, p := range live.Paths {
		if p.LastErrorAt.After(at) {
			at = p.LastErrorAt
			g.reason = fmt.Sprintf("clients of the API were disturbed during %s: %s (the last one through path %s from %s: %s)", g.step, what, p.Name, p.From, p.LastError)
		}
	}
	close(g.stop)
}

// explain says why a run was stopped, when it was the gate that did it.
func (g *gate) explain(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reason == "" {
		return err
	}
	if err == nil { // it was the phase's last step: the next phase has to wait
		err = migrate.ErrStopped
	}
	return fmt.Errorf("%s. The run was stopped at the next safe point; go on with `migrate run` when that is understood (--max-unavailable allows more): %w", g.reason, err)
}
