package main

import (
	"context"
	"fmt"

	"hamigrate/migrate/console"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runrecord"
	"hamigrate/state"
)

// proberHere measures with the flags of a command, and shows the figures beside the
// progress.
type proberHere struct {
	how measuring
	bar *console.Progress
}

// proberOf is nil where nothing is to be measured.
func proberOf(how measuring, bar *console.Progress) run.Prober {
	if how.rate == 0 {
		return nil
	}
	return proberHere{how, bar}
}

// Start begins to measure.
func (p proberHere) Start(ctx context.Context, s *run.Session, j *state.Journal, o run.ProbeOptions) (run.Probing, error) {
	how := p.how
	if o.InPlace {
		how.most = max(how.most, inPlaceSlack)
	}
	m, err := startMeasurement(ctx, s, j, how, o.Resumed, o.Stop)
	if err != nil {
		return nil, err
	}
	m.back = o.Back
	p.bar.SetLive(func() string { return fmt.Sprintf("%d requests failed", m.Failures()) })
	return probingHere{m}, nil
}

// Left says whether pods of an interrupted run may still probe.
func (proberHere) Left(j *state.Journal) (bool, error) {
	var saved runrecord.Measurements
	_, err := j.GetBlob(runrecord.MeasurementsBlob, &saved)
	return saved.Left, err
}

// probingHere is a measurement, for a run.
type probingHere struct{ *measurement }

// Disturbed is closed when the gate asks the run to stop.
func (p probingHere) Disturbed() <-chan struct{} { return p.gate.stop }

// Explain says why a run was stopped, when it was the gate that did it.
func (p probingHere) Explain(err error) error { return p.gate.explain(err) }

// End ends the measurement, with the figures of all runs.
func (p probingHere) End(ctx context.Context) (*probe.Result, error) {
	err := p.end(ctx)
	return p.saved.Result(), err
}
