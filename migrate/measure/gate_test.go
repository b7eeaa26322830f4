package measure

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/run"
)

// world is what a gate is shown, second by second.
type gateWorld struct {
	*gate
	now      time.Time
	failures int
}

func newGateWorld(most time.Duration) *gateWorld {
	return &gateWorld{gate: newGate(most), now: time.Unix(1_000_000, 0)}
}

// sees lets time go by with failing requests (or none) in every second.
func (w *gateWorld) sees(seconds int, failing bool) {
	since := w.now
	for range seconds {
		w.now = w.now.Add(time.Second)
		p := probe.LivePath{Name: "old-address", From: "operator"}
		if failing {
			w.failures += 10
			p.DownSince, p.LastError, p.LastErrorAt = since, "kept read: connection refused", w.now
		}
		p.Failures = w.failures
		w.look(probe.Live{At: w.now, Paths: []probe.LivePath{p}})
	}
}

func (w *gateWorld) step(kind migrate.EventKind, away time.Duration) {
	w.Event(migrate.Event{Kind: kind, Title: "Edit it", Target: "cp1", Outage: away, At: w.now})
}

func (w *gateWorld) tripped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		most time.Duration
		do   func(*gateWorld)
		trip bool
	}{
		"nothing fails":              {0, func(w *gateWorld) { w.step(migrate.EventStepStarted, 0); w.sees(60, false) }, false},
		"one second, none announced": {0, func(w *gateWorld) { w.step(migrate.EventStepStarted, 0); w.sees(1, true) }, true},
		"shorter than allowed":       {5 * time.Second, func(w *gateWorld) { w.sees(4, true); w.sees(9, false); w.sees(4, true) }, false},
		"longer than allowed":        {5 * time.Second, func(w *gateWorld) { w.sees(7, true) }, true},
		"announced, and not longer": {0, func(w *gateWorld) {
			w.step(migrate.EventStepStarted, 45*time.Second)
			w.sees(40, true)
			w.sees(9, false)
		}, false},
		"announced, and longer": {0, func(w *gateWorld) { w.step(migrate.EventStepStarted, 45*time.Second); w.sees(47, true) }, true},
		"announced, longer, allowed meanwhile": {0, func(w *gateWorld) {
			w.allow(30 * time.Second)
			w.step(migrate.EventStepStarted, 45*time.Second)
			w.sees(70, true)
		}, false},
		"announced, longer, allowed": {30 * time.Second, func(w *gateWorld) { w.step(migrate.EventStepStarted, 45*time.Second); w.sees(70, true) }, false},
		"known late, right after the end": {0, func(w *gateWorld) {
			w.step(migrate.EventStepStarted, 9e9)
			w.step(migrate.EventStepDone, 9e9)
			w.sees(3, true)
		}, false},
		"long after the announced one": {0, func(w *gateWorld) {
			w.step(migrate.EventStepStarted, 9e9)
			w.sees(5, true)
			w.step(migrate.EventStepDone, 9e9)
			w.sees(20, false)
			w.sees(1, true)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGateWorld(tt.most)
			tt.do(w)
			if w.tripped() != tt.trip {
				t.Errorf("stopped: %t, want %t (%s)", w.tripped(), tt.trip, w.reason)
			}
		})
	}
}

// TestGateAcceptsWhatWasBefore: the agents of a killed run know failures of
// then.
func TestGateAcceptsWhatWasBefore(t *testing.T) {
	t.Parallel()
	w := newGateWorld(0)
	w.failures = 7
	w.accept(probe.Live{Paths: []probe.LivePath{{Failures: 7}}})
	w.sees(3, false)
	if w.tripped() {
		t.Error("stopped by failures of before")
	}
}

func TestGateSaysWhy(t *testing.T) {
	t.Parallel()
	w := newGateWorld(0)
	w.step(migrate.EventStepStarted, 0)
	w.sees(1, true)
	err := w.explain(migrate.ErrStopped)
	for _, part := range []string{`"Edit it" on cp1`, "old-address", "connection refused", "--max-unavailable", "migrate run"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if !errors.Is(err, migrate.ErrStopped) || run.OutcomeOf(err) != run.Stopped {
		t.Errorf("%v", err)
	}
	early := newGateWorld(0)
	early.sees(1, true)
	if err := early.explain(migrate.ErrStopped); !strings.Contains(err.Error(), "before the first step") {
		t.Errorf("before any step: %v", err)
	}
	if quiet := newGateWorld(0); quiet.explain(nil) != nil {
		t.Error("an error where nothing was stopped")
	}
}
