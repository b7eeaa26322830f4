package migrate

import (
	"encoding/json"
	"time"
)

// EventKind says what an Event tells.
type EventKind string

// The kinds of event.
const (
	EventPhaseStarted  EventKind = "phase-started"
	EventStepChecking  EventKind = "step-checking"
	EventStepStarted   EventKind = "step-started"   // Message: why it is needed
	EventStepWaiting   EventKind = "step-waiting"   // Message: what Verify, the invariants or a wait inside the change last said
	EventStepDone      EventKind = "step-done"      // applied, verified, invariants hold
	EventStepSatisfied EventKind = "step-satisfied" // Message: what is true already
	EventStepFailed    EventKind = "step-failed"    // Message: the error
	EventStepUndoing   EventKind = "step-undoing"   // Message: why it is undone
	EventStepUndone    EventKind = "step-undone"    // the pre-image is back
	EventPhaseDone     EventKind = "phase-done"
	EventStopped       EventKind = "stopped"
	EventBackupStarted EventKind = "backup-started" // of a phase, before its first step; Message: what is done
	EventBackupDone    EventKind = "backup-done"    // checked; Message: what is in it and where it is
)

// Event is something that happened in a run, for progress and reports. Events
// of the phase itself have no step.
type Event struct {
	Kind      EventKind     `json:"kind"`
	Phase     int           `json:"phase"`
	PhaseName string        `json:"phaseName"`
	Step      StepID        `json:"step,omitempty"`
	Title     string        `json:"title,omitempty"` // the step's, or the phase's
	Target    string        `json:"target,omitempty"`
	Index     int           `json:"index"` // of this step on this target, from 1; how many are done for the phase's events
	Total     int           `json:"total"` // steps times targets in this phase
	At        time.Time     `json:"at"`
	Elapsed   time.Duration `json:"-"` // since the step (or the phase) began; "elapsedSeconds" in JSON
	// Waited is the part of Elapsed in which programs of others were waited
	// for: Verify and the invariants until they first held, and in Apply what the
	// Env measured (see Waiter). The rest is ours: checks, invariants, copies, the
	// journal, the way to the hosts. Never more than Elapsed; "waitedSeconds"
	// in JSON.
	Waited   time.Duration `json:"-"`
	WaitsFor string        `json:"waitsFor,omitempty"` // the step's WaitsFor, while its Verify is waited for
	Message  string        `json:"message,omitempty"`
	Outage   time.Duration `json:"-"` // the step's Outage; "outageSeconds" in JSON
}

// MarshalJSON writes durations as seconds.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	return json.Marshal(struct {
		plain
		Elapsed float64 `json:"elapsedSeconds"`
		Waited  float64 `json:"waitedSeconds"`
		Outage  float64 `json:"outageSeconds"`
	}{plain(e), e.Elapsed.Seconds(), e.Waited.Seconds(), e.Outage.Seconds()})
}

// Events is told what happens, in order and from one goroutine. It must not
// block for long: the run waits for it.
type Events interface {
	Event(Event)
}

// discard is the Events of a Runner that has none.
type discard struct{}

func (discard) Event(Event) {}
