package run

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/probe"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// Options say what a run or a rollback does, and how.
type Options struct {
	Strategy phases.Strategy
	Chosen   bool // the strategy was asked for: not the default
	Phase    int  // only this one; 0: all
	Plan     *SavedPlan
	PlanFile string   // where the plan is; "" without one
	Ignore   []string // preflight checks that may block
	NoBackup bool
	Command  string // of this program, as other operators are told: "run"

	Events   migrate.Events
	Stop     <-chan struct{} // closed: stop as soon as nothing is half done
	Operator Operator
	Prober   Prober // nil: what clients see is not measured

	// Rehearsed is one sentence on whether this was rehearsed, for a cluster that
	// runs this version of Kubernetes; nil: nothing is said of it.
	Rehearsed func(kubernetes string) string

	// Listener is told how it ended, when not well; nil: whoever called does that.
	Listener listener
	How      string // the flags that say how, as given, for the next command
}

// List are the phases of a spec that the options name.
func (o Options) List(spec cluster.Spec) []phases.Phase {
	all := migration.Of(spec, o.Strategy)
	if o.Phase == 0 {
		return all
	}
	return all[o.Phase-1 : o.Phase]
}

// Operator is the person, or the script, that a run works for.
type Operator interface {
	// Say tells a line that is no event.
	Say(line string)
	// Confirm asks whether a phase is to be begun, or undone. An error: it is not.
	Confirm(ctx context.Context, p phases.Phase) error
	// InPlace asks whether a phase is to be done without the overlap, which is
	// blocked. The API is away for up to that long then. An error: it is not.
	InPlace(ctx context.Context, blocked *migrate.BlockedError, away time.Duration) error
}

// Unattended is an operator that was asked beforehand, or can't be asked.
type Unattended struct{ Tell func(line string) }

// Say tells a line that is no event.
func (u Unattended) Say(line string) { u.Tell(line) }

// Confirm agrees.
func (Unattended) Confirm(context.Context, phases.Phase) error { return nil }

// InPlace does not agree: an outage is nobody's default. The error says what it would cost.
func (Unattended) InPlace(_ context.Context, blocked *migrate.BlockedError, away time.Duration) error {
	return withCost(blocked, away)
}

// Prober measures what the clients of the API see while phases run.
type Prober interface {
	// Start begins to measure, and returns when it is known what clients see before
	// anything is changed.
	Start(ctx context.Context, s *Session, j *state.Journal, o ProbeOptions) (Probing, error)
	// Left says whether a run that was interrupted has left something that still
	// measures.
	Left(j *state.Journal) (bool, error)
}

// ProbeOptions say about what a measurement is.
type ProbeOptions struct {
	Resumed bool // in the middle of a phase: there is no quiet to measure
	InPlace bool // the API is announced to be away for a moment
	Back    bool // what runs is a rollback
	Stop    <-chan struct{}
}

// Probing is a measurement that is on. It hears of the run's events.
type Probing interface {
	migrate.Events
	// AllowAway says that from now on the API is announced to be away for a moment.
	AllowAway()
	// Disturbed is closed when clients are disturbed more than was announced.
	Disturbed() <-chan struct{}
	// Explain adds to the error of a run why the measurement has stopped it, where it has.
	Explain(err error) error
	// End ends it. The result is nil where nothing was measured.
	End(ctx context.Context) (*probe.Result, error)
}

// listener is told how a run ended that did not end well.
type listener interface {
	// Failed is told at once, before the cluster is looked at once more.
	Failed(err error)
	// Ended is told what is true then: a word, and what is to be said of it.
	Ended(rows [][2]string)
}
