package measure

import (
	"context"
	"fmt"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runrecord"
	"hamigrate/state"
)

// prober measures from this machine and from pods.
type prober struct{ how How }

// New returns what measures for a run or a rollback; nil where nothing is to be
// measured.
func New(how How) run.Prober {
	if how.Rate == 0 {
		return nil
	}
	return prober{how}
}

// Start begins to measure.
func (p prober) Start(ctx context.Context, s *run.Session, j *state.Journal, o run.ProbeOptions) (run.Probing, error) {
	how := p.how
	if o.InPlace {
		how.Most = max(how.Most, InPlaceSlack)
	}
	m, err := startMeasurement(ctx, s, j, how, o.Resumed, o.Stop)
	if err != nil {
		return nil, err
	}
	m.back = o.Back
	if how.Live != nil {
		how.Live(func() string { return fmt.Sprintf("%d requests failed", m.Failures()) })
	}
	return probing{m}, nil
}

// Left says whether pods of an interrupted run may still probe.
func (prober) Left(j *state.Journal) (bool, error) {
	var saved runrecord.Measurements
	_, err := j.GetBlob(runrecord.MeasurementsBlob, &saved)
	return saved.Left, err
}

// probing is a measurement, for a run.
type probing struct{ *measurement }

// AllowAway makes the gate as patient as it is in a run that is in place from the start.
func (p probing) AllowAway() { p.gate.allow(InPlaceSlack) }

// Disturbed is closed when the gate asks the run to stop.
func (p probing) Disturbed() <-chan struct{} { return p.gate.stop }

// Explain says why a run was stopped, when it was the gate that did it.
func (p probing) Explain(err error) error { return p.gate.explain(err) }

// End ends the measurement, with the figures of all runs.
func (p probing) End(ctx context.Context) (*probe.Result, error) {
	err := p.end(ctx)
	return p.saved.Result(), err
}
