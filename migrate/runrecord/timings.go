package runrecord

import (
	"time"

	"hamigrate/migrate"
	"hamigrate/state"

	"github.com/hashicorp/go-hclog"
)

// Timings is the journal's blob of where the time went, by phase, step and
// target. A step that took several attempts has the sum.
type Timings struct {
	Steps []timing `json:"steps"`
}

// timing is one step on one target, from its first check to the invariants after
// it and with its being undone, and the part in which others' programs
// were waited for.
type timing struct {
	Phase  int            `json:"phase"`
	Step   migrate.StepID `json:"step"`
	Target string         `json:"target"`
	Total  time.Duration  `json:"totalNs"`
	Waited time.Duration  `json:"waitedNs"`
}

// TimingsBlob is its name in the journal.
const TimingsBlob = "timings"

// TimingRecorder writes down where the time goes, as it goes: a run that is
// killed keeps what it had.
type TimingRecorder struct {
	Journal *state.Journal
	Log     hclog.Logger
}

// Event adds the time of a step that ended, well or not.
func (k *TimingRecorder) Event(e migrate.Event) {
	switch e.Kind {
	case migrate.EventStepDone, migrate.EventStepSatisfied, migrate.EventStepFailed, migrate.EventStepUndone:
	default:
		return
	}
	if e.Step == "" { // the phase's own: its first invariants failed
		return
	}
	var all Timings
	if _, err := k.Journal.GetBlob(TimingsBlob, &all); err != nil {
		k.Log.Warn("reading where the time went", "error", err)
		return
	}
	all.add(timing{e.Phase, e.Step, e.Target, e.Elapsed, e.Waited})
	if err := k.Journal.PutBlob(TimingsBlob, all); err != nil {
		k.Log.Warn("keeping where the time went", "error", err)
	}
}

func (ts *Timings) add(t timing) {
	for i, have := range ts.Steps {
		if have.Phase == t.Phase && have.Step == t.Step && have.Target == t.Target {
			ts.Steps[i].Total += t.Total
			ts.Steps[i].Waited += t.Waited
			return
		}
	}
	ts.Steps = append(ts.Steps, t)
}

// Of finds a step's time; zero where none was written down.
func (ts Timings) Of(phase int, step, target string) timing {
	for _, t := range ts.Steps {
		if t.Phase == phase && string(t.Step) == step && t.Target == target {
			return t
		}
	}
	return timing{}
}
