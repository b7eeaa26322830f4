package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// probed is a measurement that is on, and whether it knows that the API may be away.
type probed struct {
	allowed bool
	end     func() error // nil: well
}

func (p *probed) AllowAway()                 { p.allowed = true }
func (p *probed) Event(migrate.Event)        {}
func (p *probed) Disturbed() <-chan struct{} { return nil }
func (p *probed) Explain(err error) error    { return err }
func (p *probed) End(context.Context) (*probe.Result, error) {
	if p.end == nil {
		return nil, nil
	}
	return nil, p.end()
}

// decliner is asked last, and agrees to nothing.
type decliner struct{}

var errDeclined = errors.New("declined")

func (decliner) Say(string)                                  {}
func (decliner) Confirm(context.Context, phases.Phase) error { return errDeclined }
func (decliner) InPlace(context.Context, *migrate.BlockedError, time.Duration) error {
	return errDeclined
}

// TestAMeasurementThatIsOnHearsOfInPlace: an earlier phase has begun it, for which the
// API was not to be away at all.
func TestAMeasurementThatIsOnHearsOfInPlace(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(context.Context, *run) error{
		"a run that is agreed to be done in place": func(_ context.Context, r *run) error { return r.switchTo(phases.InPlace) },
		"a way back of what was done in place": func(ctx context.Context, r *run) error {
			if err := r.phaseBack(ctx, migration.Phases(phases.InPlace)[1]); !errors.Is(err, errDeclined) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, j := sessionOn(t, &remotetest.Logins{})
			p := &probed{}
			r := &run{Options: Options{Operator: decliner{}}, s: s, j: j, probe: p}
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if !p.allowed {
				t.Error("the measurement does not know, and would stop the run for less than was agreed to")
			}
		})
	}
	p := &probed{}
	r := &run{Options: Options{Operator: decliner{}}, probe: p}
	if err := r.phaseBack(t.Context(), migration.Phases(phases.Overlap)[1]); !errors.Is(err, errDeclined) || p.allowed {
		t.Errorf("%v; with an overlap the API may be away: %t", err, p.allowed)
	}
}

// TestTheEndOfAMeasurementIsNotHowARunEnded: it may be waited for for minutes, in which
// Ctrl-C comes twice. What a script and a person are told is how the phases ended.
func TestTheEndOfAMeasurementIsNotHowARunEnded(t *testing.T) {
	t.Parallel()
	where := migrate.Where{Phase: 2, Step: "etcd/promote", Target: "e1"}
	broken := errors.New("it broke")
	for name, c := range map[string]struct {
		phases error
		code   Outcome
		ended  string
	}{
		"well":                  {nil, Interrupted, "after the last step, while the measurement was ended"},
		"failed":                {&migrate.StepError{Where: where, Op: migrate.OpVerify, Err: broken}, Failed, "in the verify of"},
		"the way back failed":   {&migrate.StepError{Where: where, Op: migrate.OpVerify, Err: broken, Unwound: &migrate.Unwound{Err: broken}}, NeedsYou, "it needs a person"},
		"blocked":               {&migrate.BlockedError{Where: where, Reason: "x"}, Blocked, "which has changed nothing"},
		"stopped":               {migrate.ErrStopped, Stopped, "between two steps"},
		"in the middle of that": {&migrate.InterruptedError{Where: where, Status: "started", Cause: context.Canceled}, Interrupted, "it may be half done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			r := &run{Options: Options{Operator: decliner{}}, probe: &probed{end: func() error {
				cancel()
				return fmt.Errorf("fetching the last of what was measured: %w", ctx.Err())
			}}}
			err := r.each(ctx, migration.Phases(phases.Overlap)[:1], func(context.Context, phases.Phase) error { return c.phases })
			if OutcomeOf(err) != c.code || !strings.Contains(HowItEnded(err), c.ended) {
				t.Errorf("outcome %d, it ended %s; want %d, %s", OutcomeOf(err), HowItEnded(err), c.code, c.ended)
			}
			if !strings.Contains(err.Error(), "fetching the last") || c.phases != nil && !strings.HasPrefix(err.Error(), c.phases.Error()) {
				t.Errorf("not all is told: %v", err)
			}
		})
	}
}

// leftProber finds pods of an interrupted run, and takes them up.
type leftProber struct{ changed func() bool }

func (leftProber) Left(*state.Journal) (bool, error) { return true, nil }

func (p leftProber) Start(context.Context, *Session, *state.Journal, ProbeOptions) (Probing, error) {
	if !p.changed() {
		return nil, errors.New("a signal would be told that nothing was changed")
	}
	return &probed{}, nil
}

// TestPodsAreAChange: a run that only removes those of an interrupted one changes
// something as well.
func TestPodsAreAChange(t *testing.T) {
	t.Parallel()
	ctx, made := WithChanges(t.Context())
	r := &run{Options: Options{Operator: decliner{}, Prober: leftProber{func() bool { return !made.UnlessMade(func() {}) }}}}
	if err := r.endProbe(ctx); err != nil {
		t.Error(err)
	}
}
