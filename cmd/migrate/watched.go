package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// migratePhases runs phases in order with the session's journal, and probes
// the API from before the first change to after the last one.
func migratePhases(ctx context.Context, s *session, m migration) (err error) {
	j, err := s.openJournal()
	if err != nil {
		return m.closing.say(ctx, nil, err)
	}
	defer j.Close()
	m.closing.begin(j)
	defer func() { err = m.closing.say(ctx, j, err) }()
	defer func() { err = errors.Join(err, runrecord.KeepHostKeys(j, s.pool.AcceptedHostKeys())) }()
	w := &watched{migration: m, s: s, j: j}
	if err := w.resumable(); err != nil {
		return err
	}
	if err := awaitAPI(ctx, s, m.stop, m.measuring.tell); err != nil {
		return err
	}
	id, kubernetes, err := planIdentity(ctx, s)
	if err != nil {
		return err
	}
	if m.meant != nil {
		if err := m.meant(id, kubernetes); err != nil {
			return err
		}
	}
	if err := describeCluster(ctx, s, j, id, kubernetes, m.strategy); err != nil {
		return err
	}
	if err := phases.Fits(ctx, s.world.View(migrate.ClusterTarget)); err != nil {
		return err
	}
	changed, err := toBeDone(ctx, s, j, m.phases)
	if err != nil {
		return err
	}
	if err := mayChange(ctx, s, changed); err != nil {
		return err
	}
	if w.hold, err = holdCluster(ctx, s, j, "migrate "+m.command, m.measuring.tell); err != nil {
		return err
	}
	defer w.hold.end(ctx)
	if m.agreed != nil {
		if err := m.agreed(ctx, j, kubernetes); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, w.end(ctx)) }()
	for _, p := range m.phases {
		if err := w.run(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// watched runs phases under one measurement, which begins with the first
// phase that has something to do.
type watched struct {
	migration
	s    *session
	j    *state.Journal
	m    *measurement
	hold *hold
	seen look
	done map[int]bool // phases that this process has brought to their end, by number
}

func (w *watched) run(ctx context.Context, p phases.Phase) error {
	p, err := w.asBegun(p)
	if err != nil {
		return err
	}
	if p, err = w.unblocked(ctx, p); err != nil {
		return err
	}
	if err := w.earlierPhases(ctx, p); err != nil {
		return err
	}
	if err := w.preflight(ctx, p); err != nil {
		return err
	}
	if err := w.confirm(p); err != nil {
		return err
	}
	if err := w.backUp(ctx, p); err != nil {
		return err
	}
	if err := w.measure(ctx, p); err != nil {
		return err
	}
	if err := w.with(ctx, func(r migrate.Runner[phases.View, phases.Hands]) error { return r.Run(ctx, p) }); err != nil {
		return err
	}
	if w.done == nil {
		w.done = map[int]bool{}
	}
	w.done[p.Number] = true
	return nil
}

// with runs do with a runner whose events everybody hears who has to, and
// which is stopped by the operator or by the gate.
func (w *watched) with(ctx context.Context, do func(migrate.Runner[phases.View, phases.Hands]) error) error {
	events := both{changingWith(ctx), w.events, &runrecord.TimingRecorder{Journal: w.j, Log: w.s.log}}
	stop, done := either(w.stop, w.hold.lost)
	defer done()
	if w.m != nil {
		events = append(events, w.m)
		var done func()
		stop, done = either(stop, w.m.gate.stop)
		defer done()
	}
	w.s.world.UseStop(stop)
	defer w.s.world.UseStop(nil)
	err := do(migrate.Runner[phases.View, phases.Hands]{
		Env: w.s.world, Journal: w.j, Spec: w.s.spec.Fingerprint, Events: events, Log: w.s.log, Stop: stop,
	})
	if err = w.hold.explain(err); w.m != nil {
		err = w.m.gate.explain(err)
	}
	return err
}

// either is closed when a or b is.
func either(a, b <-chan struct{}) (stop <-chan struct{}, done func()) {
	out, ended := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-a:
		case <-b:
		case <-ended:
			return
		}
		close(out)
	}()
	return out, func() { close(ended) }
}

// measure starts the measurement, unless it is on, is not wanted or p has
// nothing to do. Where a phase is half done, one that can't be started is no
// reason to leave it there.
func (w *watched) measure(ctx context.Context, p phases.Phase) error {
	if w.m != nil || w.measuring.rate == 0 {
		return nil
	}
	known, err := w.j.Phase(p.Number)
	if err != nil {
		return err
	}
	if nothing, err := w.nothingToDo(ctx, p); err != nil || nothing {
		return err
	}
	return w.begin(ctx, !known.Begun.IsZero() && known.Completed.IsZero())
}

// measureAnyway starts the measurement of a rollback.
func (w *watched) measureAnyway(ctx context.Context) error {
	if w.m != nil || w.measuring.rate == 0 {
		return nil
	}
	err := w.begin(ctx, true)
	if w.m != nil {
		w.m.back = true
	}
	return err
}

func (w *watched) begin(ctx context.Context, resumed bool) error {
	beginsToChange(ctx) // it makes pods
	m, err := startMeasurement(ctx, w.s, w.j, w.measuring, resumed, w.stop)
	switch {
	case err == nil:
		w.m = m
		if w.bar != nil {
			w.bar.setLive(func() string { return fmt.Sprintf("%d requests failed", m.Failures()) })
		}
	case resumed:
		w.measuring.tell(fmt.Sprintf("going on without measuring what clients see: %v", err))
		w.measuring.rate = 0
	default:
		return fmt.Errorf("measuring what clients see (--probe-rate 0 does without): %w", err)
	}
	return nil
}

// collect takes up the measurement of a run that was interrupted after its
// last change: nothing is left to do, and its pods still probe.
func (w *watched) collect(ctx context.Context) error {
	var saved runrecord.Measurements
	if _, err := w.j.GetBlob(runrecord.MeasurementsBlob, &saved); err != nil || !saved.Left || w.measuring.rate == 0 || ctx.Err() != nil {
		return err
	}
	m, err := startMeasurement(ctx, w.s, w.j, w.measuring, true, w.stop)
	if err != nil {
		return fmt.Errorf("removing the probe's pods that an interrupted run left: %w", err)
	}
	w.m = m
	return nil
}

// end ends the measurement and says what it found.
func (w *watched) end(ctx context.Context) error {
	if w.m == nil {
		if err := w.collect(ctx); err != nil || w.m == nil {
			return err
		}
	}
	err := w.m.end(ctx)
	if r := w.m.saved.Result(); r != nil && ctx.Err() == nil {
		w.measuring.tell(fmt.Sprintf("%d of %d requests of the API's clients failed, the longest gap was %.1f s; migrate report has the rest",
			r.Failures(), r.Requests(), r.LongestGap().Seconds()))
	}
	return err
}

// unblocked refuses to begin a phase in which a step is known to be blocked:
// better now, with nothing changed, than in its middle. Where only the
// overlap is blocked, the phase can be done in place, if that is agreed to.
func (w *watched) unblocked(ctx context.Context, p phases.Phase) (phases.Phase, error) {
	if under, _, err := underWay(w.j, p); err != nil || under {
		return p, err
	}
	entries, err := w.look(ctx, p)
	if err != nil {
		return p, err
	}
	blocked := blockedIn(entries)
	if blocked == nil {
		return p, nil
	}
	other, away, err := withoutOverlap(ctx, w.s, w.j, p, blocked)
	if err != nil || away == 0 {
		return p, errors.Join(err, blocked)
	}
	if w.inPlace == nil {
		return p, cost(blocked, away)
	}
	if err := w.inPlace(blocked, away); err != nil {
		return p, err
	}
	return other, w.switchTo(phases.InPlace)
}

// asBegun is the phase with the strategy it was begun with, where that is not
// the default and none was asked for: half of a phase done one way is not
// finished the other.
func (w *watched) asBegun(p phases.Phase) (phases.Phase, error) {
	other, switched, err := w.begunAs(p)
	if err != nil || !switched {
		return p, err
	}
	w.measuring.tell(fmt.Sprintf("phase %d was begun with --strategy %s and goes on so", p.Number, phases.InPlace))
	return other, w.switchTo(phases.InPlace)
}

// begunAs is the phase with the strategy that asBegun switches to. One that is
// complete keeps it as well: its way back depends on it.
func (w *watched) begunAs(p phases.Phase) (as phases.Phase, switched bool, err error) {
	begun, err := begunStrategy(w.j, p.Number)
	if err != nil || w.chosen || begun != phases.InPlace || inPlace(p) {
		return p, false, err
	}
	other := allPhases(phases.InPlace)[p.Number-1]
	stands, err := migrate.Stands(w.j, other)
	if err != nil || !stands {
		return p, false, err
	}
	return other, true, nil
}

// resumable refuses another spec than the one that a phase was begun with,
// before any host is connected to.
func (w *watched) resumable() error {
	for _, p := range w.phases {
		as, _, err := w.begunAs(p)
		if err != nil {
			return err
		}
		if err := migrate.Resumable(w.j, as, w.s.spec.Fingerprint); err != nil {
			return w.otherStrategy(as, err)
		}
	}
	return nil
}

// otherStrategy makes a phase that can't be carried on say so where it was
// begun with the other strategy than the one that was asked for.
func (w *watched) otherStrategy(p phases.Phase, err error) error {
	var changed *migrate.FingerprintError
	if !errors.As(err, &changed) || changed.Spec {
		return err
	}
	known, readErr := w.j.Phase(p.Number)
	s, begunErr := begunStrategy(w.j, p.Number)
	if readErr != nil || begunErr != nil {
		return errors.Join(err, readErr, begunErr)
	}
	if s != "" && s != phases.StrategyOf(p.Choice) && known.Declaration == migrate.Fingerprint(allPhases(s)[p.Number-1]) {
		changed.Remedy = fmt.Sprintf("it was begun with --strategy %s: `migrate run --strategy %s` goes on with it, and `migrate rollback --phase %d --strategy %s` takes it back", s, s, p.Number, phases.InPlace)
	}
	return err
}

// switchTo makes the rest of the run use another strategy.
func (w *watched) switchTo(s phases.Strategy) error {
	w.strategy = s
	w.measuring.most = max(w.measuring.most, inPlaceSlack)
	var a runrecord.About
	if _, err := w.j.GetBlob(runrecord.AboutBlob, &a); err != nil {
		return err
	}
	a.Strategy = string(s)
	return w.j.PutBlob(runrecord.AboutBlob, a)
}

// cost adds to a block of the overlap what the other way would cost.
func cost(b *migrate.BlockedError, away time.Duration) *migrate.BlockedError {
	with := *b
	with.Remedy += fmt.Sprintf("; in place, the API will be away for up to %.0f s", away.Seconds())
	return &with
}

// withWayOut is blocked, with what the phase would cost in place where only
// the overlap is blocked.
func withWayOut(ctx context.Context, s *session, j *state.Journal, p phases.Phase, blocked *migrate.BlockedError) error {
	_, away, err := withoutOverlap(ctx, s, j, p, blocked)
	if err != nil {
		return errors.Join(blocked, err)
	}
	if away == 0 {
		return blocked
	}
	return cost(blocked, away)
}

func blockedIn(entries []migrate.Entry) *migrate.BlockedError {
	for _, e := range entries {
		if e.Finding.Verdict == migrate.Blocked {
			return &migrate.BlockedError{Where: migrate.Where{Phase: e.Phase, Step: e.Step, Target: e.Target},
				Reason: e.Finding.Reason, Remedy: e.Finding.Remedy}
		}
	}
	return nil
}

// withoutOverlap is the phase done in place, and how long the API will be
// away then; 0 when that is blocked as well or is no other way.
func withoutOverlap(ctx context.Context, s *session, j *state.Journal, p phases.Phase, blocked *migrate.BlockedError) (phases.Phase, time.Duration, error) {
	other := allPhases(phases.InPlace)[p.Number-1]
	if slices.ContainsFunc(other.Steps, func(st phases.Step) bool { return st.ID == blocked.Step }) {
		return p, 0, nil
	}
	entries, err := migrate.Plan(ctx, s.world, other, j)
	if err != nil || blockedIn(entries) != nil {
		return p, 0, err
	}
	return other, outageOf(entries), nil
}

// outageOf is how long the API will be away, as announced by the steps that
// are still to be done.
func outageOf(entries []migrate.Entry) time.Duration {
	var away time.Duration
	for _, e := range entries {
		if e.Finding.Verdict != migrate.Satisfied {
			away += e.Outage
		}
	}
	return away
}
