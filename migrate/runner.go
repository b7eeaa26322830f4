package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"hamigrate/state"
)

// Journal is what a Runner needs of the journal; *state.Journal is one. What
// a method has written is on disk when it returns nil.
type Journal interface {
	Records(phase int) ([]state.Record, error)
	Advance(state.Key, state.Change) (state.Record, error)
	Phase(phase int) (state.Phase, error)
	BeginPhase(phase int, spec, declaration string, choice map[string]string) error
	BeginRun(phase int) (end func(result string, completed bool) error, err error)
}

// Runner runs phases. Env and Journal must be set.
type Runner[V, H any] struct {
	Env     Env[V, H]
	Journal Journal
	// Spec is the spec's fingerprint: a phase that is part done is not
	// resumed with another one.
	Spec   string
	Events Events       // nil: nobody is told
	Log    hclog.Logger // nil: no log
	// Stop, once closed, ends the run before its next step. Nil: never.
	Stop <-chan struct{}
}

// Run does what is left of a phase, or does it again where the world has
// drifted. See the package comment for the duties.
//
// Errors: *BlockedError (nothing was changed by the step it names),
// ErrStopped, *InterruptedError (ctx ended), *FingerprintError, *StepError,
// or a mistake in the declaration (Validate).
func (r Runner[V, H]) Run(ctx context.Context, p Phase[V, H]) (err error) {
	if err := Validate(p); err != nil {
		return err
	}
	x, err := r.execute(ctx, p)
	if err != nil {
		return err
	}
	if err := x.resumable(); err != nil {
		return err
	}
	end, err := r.Journal.BeginRun(p.Number)
	if err != nil {
		return fmt.Errorf("beginning a run of phase %d: %w", p.Number, err)
	}
	err = x.all(ctx)
	if endErr := end(result(err), err == nil); endErr != nil {
		return errors.Join(err, fmt.Errorf("ending the run of phase %d: %w", p.Number, endErr))
	}
	return err
}

// execute prepares one run of a phase, there or back.
func (r Runner[V, H]) execute(ctx context.Context, p Phase[V, H]) (_ *execution[V, H], err error) {
	x := execution[V, H]{Runner: r, phase: p, began: time.Now(), done: map[state.Key]bool{}, choice: p.Choice.record()}
	if x.Events == nil {
		x.Events = discard{}
	}
	if x.Log == nil {
		x.Log = hclog.NewNullLogger()
	}
	x.Log = x.Log.With("phase", p.Number)
	if x.visits, err = visits(ctx, r.Env, p); err != nil {
		return nil, err
	}
	if x.records, err = recordsOf(r.Journal, p.Number); err != nil {
		return nil, err
	}
	return &x, nil
}

// result is what the journal keeps of a run's end.
func result(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, ErrStopped):
		return "stopped"
	default:
		return err.Error()
	}
}

// execution is one run of one phase.
type execution[V, H any] struct {
	Runner[V, H]
	phase   Phase[V, H]
	visits  []visit[V, H]
	records records            // as the journal has them
	done    map[state.Key]bool // in this run
	begun   bool               // the journal has this run's fingerprints, the phase is under way
	intact  bool               // the journal has this run's fingerprints, the phase is complete
	choice  map[string]string  // for the journal: what the phase was begun with

	holding bool // the step before says KeepGoing

	// healthy is when the invariants held last with nothing changed by this run
	// since; zero when a change has begun.
	healthy time.Time

	began, stepBegan, lastEvent time.Time
	// waited and stepWaited are the parts in which others were waited for.
	waited, stepWaited time.Duration
}

// beginStep starts the clock of a step, or of the invariants before the first one.
func (x *execution[V, H]) beginStep() { x.stepBegan, x.stepWaited = time.Now(), 0 }

// endStep adds what the step waited to what the phase did.
func (x *execution[V, H]) endStep() { x.waited += x.stepWaited }

// resumable is Resumable, and notes what of the journal fits.
func (x *execution[V, H]) resumable() error {
	known, err := x.Journal.Phase(x.phase.Number)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	same := known.Spec == x.Spec && known.Declaration == Fingerprint(x.phase)
	complete := !known.Completed.IsZero()
	x.begun = same && !complete && !known.Begun.IsZero()
	x.intact = same && complete
	return Resumable(x.Journal, x.phase, x.Spec)
}

// Resumable refuses to carry on a phase that is part done with another spec
// or another list of steps: the pre-images and needs would not fit. spec is
// the fingerprint of the one at hand. It asks the journal alone.
//
// Errors: *FingerprintError, or that the journal can't be read.
func Resumable[V, H any](j interface {
	planJournal
	Phase(number int) (state.Phase, error)
}, p Phase[V, H], spec string) error {
	known, err := j.Phase(p.Number)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	recs, err := recordsOf(j, p.Number)
	if err != nil {
		return err
	}
	same := known.Spec == spec && known.Declaration == Fingerprint(p)
	if same || !known.Completed.IsZero() || known.Begun.IsZero() || !stand(recs, p) {
		return nil
	}
	return &FingerprintError{Phase: p.Number, Name: p.Name, Spec: known.Spec != spec, Tool: known.Tool}
}

func (r records) any(is func(state.Record) bool) bool {
	for _, rec := range r {
		if is(rec) {
			return true
		}
	}
	return false
}

// Stands says whether anything of a phase was changed that a rollback would
// take back. What is one-way for a reason stays after it, and fits any spec.
// It asks the journal alone.
func Stands[V, H any](j planJournal, p Phase[V, H]) (bool, error) {
	recs, err := recordsOf(j, p.Number)
	if err != nil {
		return false, err
	}
	return stand(recs, p), nil
}

func stand[V, H any](recs records, p Phase[V, H]) bool {
	return recs.any(func(rec state.Record) bool {
		i := slices.IndexFunc(p.Steps, func(s Step[V, H]) bool { return string(s.ID) == rec.Step })
		return rec.Status.Touched() && (i < 0 || p.Steps[i].OneWay == "" || p.Steps[i].OneWay == NotYet)
	})
}

func (x *execution[V, H]) all(ctx context.Context) error {
	x.emit(Event{Kind: EventPhaseStarted, Title: x.phase.Title})
	if err := x.firstInvariants(ctx); err != nil {
		x.emit(Event{Kind: endKind(err), Title: x.phase.Title, Message: err.Error()})
		return err
	}
	for i, v := range x.visits {
		x.holding = i > 0 && x.visits[i-1].KeepGoing
		if x.stopped() && !x.holding {
			x.emit(Event{Kind: EventStopped, Title: x.phase.Title, Index: i, Elapsed: time.Since(x.began)})
			return ErrStopped
		}
		x.beginStep()
		if err := (&stepRun[V, H]{execution: x, visit: v, index: i + 1}).run(ctx); err != nil {
			return err
		}
		x.endStep()
	}
	if !x.intact {
		if err := x.begin(); err != nil {
			return err
		}
	}
	x.emit(Event{Kind: EventPhaseDone, Title: x.phase.Title, Index: len(x.visits), Elapsed: time.Since(x.began), Waited: x.waited})
	return nil
}

// firstInvariants holds the phase back while the invariants do not hold, unless a
// step was left unfinished: that step may be what breaks them, and finishing
// it what mends them.
func (x *execution[V, H]) firstInvariants(ctx context.Context) error {
	if x.records.any(func(rec state.Record) bool { return rec.Status.Unfinished() }) {
		return nil
	}
	x.beginStep()
	defer x.endStep()
	return x.guardBefore(ctx, Where{Phase: x.phase.Number}, state.Pending, Event{Title: x.phase.Title})
}

// invariantsFresh is how long what the check of the invariants saw is taken for what is. The check
// after a step is so the one before the next, when that begins at once: between
// them lies the next step's Check, which changes nothing.
const invariantsFresh = time.Second

// guardBefore waits for the invariants before a change. Nothing is under way,
// so it need not wait any longer once the run is asked to stop. e is what a
// waiting event says of whom they are waited for.
func (x *execution[V, H]) guardBefore(ctx context.Context, where Where, status state.Status, e Event) error {
	if !x.healthy.IsZero() && time.Since(x.healthy) < invariantsFresh {
		return nil
	}
	stop := x.Stop
	if x.holding {
		stop = nil
	}
	err := x.awaitInvariants(ctx, stop, e)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &InterruptedError{Where: where, Op: OpInvariants, Status: status, Cause: context.Cause(ctx), Err: err}
	case errors.Is(err, ErrStopped):
		return ErrStopped
	}
	return &BlockedError{Where: where, Err: err,
		Reason: fmt.Sprintf("the cluster is not healthy: %v", err),
		Remedy: "nothing is half done; fix that and run again"}
}

// awaitInvariants polls the phase's invariants until stop is closed.
func (x *execution[V, H]) awaitInvariants(ctx context.Context, stop <-chan struct{}, e Event) error {
	waited, err := poll(ctx, stop, x.phase.InvariantsSettle, func(err error) { x.waiting(e, err) }, func(ctx context.Context) error {
		return x.phase.Invariants(ctx, x.Env.Reader(ClusterTarget))
	})
	x.stepWaited += waited
	if err == nil {
		x.healthy = time.Now()
	}
	return err
}

// endKind is the kind of event that an error is told with.
func endKind(err error) EventKind {
	if errors.Is(err, ErrStopped) {
		return EventStopped
	}
	return EventStepFailed
}

// begin makes sure that the journal has this run's fingerprints before the
// first change of a record is written.
func (x *execution[V, H]) begin() error {
	if x.begun {
		return nil
	}
	if err := x.Journal.BeginPhase(x.phase.Number, x.Spec, Fingerprint(x.phase), x.choice); err != nil {
		return fmt.Errorf("beginning phase %d: %w", x.phase.Number, err)
	}
	x.begun, x.intact = true, false
	return nil
}

func (x *execution[V, H]) stopped() bool {
	select {
	case <-x.Stop:
		return true
	default:
		return false
	}
}

// emit fills in what all events have and tells Events.
func (x *execution[V, H]) emit(e Event) {
	x.lastEvent = time.Now()
	e.Phase, e.PhaseName, e.Total, e.At = x.phase.Number, x.phase.Name, len(x.visits), x.lastEvent
	x.Events.Event(e)
}

// waiting tells what a wait waits for, when there was silence for a while: a
// longer one the longer it lasts, for a person may be waited for.
func (x *execution[V, H]) waiting(e Event, said error) {
	if time.Since(x.lastEvent) <= max(quiet, time.Since(x.stepBegan)/4) {
		return
	}
	e.Kind, e.Message, e.Elapsed = EventStepWaiting, said.Error(), time.Since(x.stepBegan)
	x.emit(e)
}
