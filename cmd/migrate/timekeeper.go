package main

import (
	"time"

	"hamigrate/migrate"
	"hamigrate/state"

	"github.com/hashicorp/go-hclog"
)

// timings is the journal's blob of where the time went, by phase, step and
// target. A step that took several attempts has the sum.
type timings struct {
	Steps []timing `json:"steps"`
}

// timing is one step on one target, from its first check to the guard after
// it and with its being taken back, and the part in which others' programs
// were waited for.
type timing struct {
	Phase  int            `json:"phase"`
	Step   migrate.StepID `json:"step"`
	Target string         `json:"target"`
	Total  time.Duration  `json:"totalNs"`
	Waited time.Duration  `json:"waitedNs"`
}

const timingsBlob = "timings"

// timekeeper writes down where the time goes, as it goes: a run that is
// killed keeps what it had.
type timekeeper struct {
	j   *state.Journal
	log hclog.Logger
}

// Event adds the time of a step that ended, well or not.
func (k *timekeeper) Event(e migrate.Event) {
	switch e.Kind {
	case migrate.EventStepDone, migrate.EventStepSatisfied, migrate.EventStepFailed, migrate.EventStepUndone:
	default:
		return
	}
	if e.Step == "" { // the phase's own: its first guard failed
		return
	}
	var all timings
	if _, err := k.j.GetBlob(timingsBlob, &all); err != nil {
		k.log.Warn("reading where the time went", "error", err)
		return
	}
	all.add(timing{e.Phase, e.Step, e.Target, e.Elapsed, e.Waited})
	if err := k.j.PutBlob(timingsBlob, all); err != nil {
		k.log.Warn("keeping where the time went", "error", err)
	}
}

func (ts *timings) add(t timing) {
	for i, have := range ts.Steps {
		if have.Phase == t.Phase && have.Step == t.Step && have.Target == t.Target {
			ts.Steps[i].Total += t.Total
			ts.Steps[i].Waited += t.Waited
			return
		}
	}
	ts.Steps = append(ts.Steps, t)
}

// of finds a step's time; zero where none was written down.
func (ts timings) of(phase int, step, target string) timing {
	for _, t := range ts.Steps {
		if t.Phase == phase && string(t.Step) == step && t.Target == target {
			return t
		}
	}
	return timing{}
}
