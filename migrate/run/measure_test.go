package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
	"hamigrate/phases/migration"
)

// probed is a measurement that is on, and whether it knows that the API may be away.
type probed struct{ allowed bool }

func (p *probed) AllowAway()                                 { p.allowed = true }
func (p *probed) Event(migrate.Event)                        {}
func (p *probed) Disturbed() <-chan struct{}                 { return nil }
func (p *probed) Explain(err error) error                    { return err }
func (p *probed) End(context.Context) (*probe.Result, error) { return nil, nil }

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
