package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// unblocked refuses to begin a phase in which a step is known to be blocked:
// better now, with nothing changed, than in its middle. Where only the
// overlap is blocked, the phase can be done in place, if that is agreed to.
func (r *run) unblocked(ctx context.Context, p phases.Phase) (phases.Phase, error) {
	if under, _, err := underWay(r.j, p); err != nil || under {
		return p, err
	}
	entries, err := r.look(ctx, p)
	if err != nil {
		return p, err
	}
	blocked := blockedIn(entries)
	if blocked == nil {
		return p, nil
	}
	other, away, err := withoutOverlap(ctx, r.s, r.j, p, blocked)
	if err != nil || away == 0 {
		return p, errors.Join(err, blocked)
	}
	if r.Plan != nil { // another strategy would be another plan
		return p, withCost(blocked, away)
	}
	if err := r.Operator.InPlace(ctx, blocked, away); err != nil {
		return p, err
	}
	return other, r.switchTo(phases.InPlace)
}

// asBegun is the phase with the strategy it was begun with, where that is not
// the default and none was asked for: half of a phase done one way is not
// finished the other.
func (r *run) asBegun(p phases.Phase) (phases.Phase, error) {
	other, switched, err := r.begunAs(p)
	if err != nil || !switched {
		return other, err
	}
	r.Operator.Say(fmt.Sprintf("phase %d was begun with --strategy %s and goes on so", p.Number, phases.InPlace))
	return other, r.switchTo(phases.InPlace)
}

// begunAs is the phase with the strategy that it was begun with, and whether the rest
// of the run switches to that. One that is complete keeps it whatever is asked for: its
// way back depends on it.
func (r *run) begunAs(p phases.Phase) (as phases.Phase, switched bool, err error) {
	begun, err := begunStrategy(r.j, p.Number)
	if err != nil || begun == "" || begun == phases.StrategyOf(p.Choice) {
		return p, false, err
	}
	known, err := r.j.Phase(p.Number)
	if err != nil || known.Completed.IsZero() && (r.Chosen || begun != phases.InPlace) {
		return p, false, err
	}
	other := migration.Of(r.s.Spec, begun)[p.Number-1]
	stands, err := migrate.Stands(r.j, other)
	if err != nil || !stands {
		return p, false, err
	}
	return other, !r.Chosen && begun == phases.InPlace, nil
}

// resumable refuses another spec than the one that a phase was begun with,
// before any host is connected to.
func (r *run) resumable() error {
	for _, p := range r.List(r.s.Spec) {
		as, _, err := r.begunAs(p)
		if err != nil {
			return err
		}
		if err := migrate.Resumable(r.j, as, r.s.Spec.Fingerprint); err != nil {
			return r.otherStrategy(as, err)
		}
	}
	return nil
}

// otherStrategy makes a phase that can't be carried on say so where it was
// begun with the other strategy than the one that was asked for.
func (r *run) otherStrategy(p phases.Phase, err error) error {
	var changed *migrate.FingerprintError
	if !errors.As(err, &changed) || changed.Spec {
		return err
	}
	known, readErr := r.j.Phase(p.Number)
	s, begunErr := begunStrategy(r.j, p.Number)
	if readErr != nil || begunErr != nil {
		return errors.Join(err, readErr, begunErr)
	}
	if s != "" && s != phases.StrategyOf(p.Choice) && known.Declaration == migrate.Fingerprint(migration.Of(r.s.Spec, s)[p.Number-1]) {
		changed.Remedy = fmt.Sprintf("it was begun with --strategy %s: `migrate run --strategy %s` goes on with it, and `migrate rollback --phase %d --strategy %s` takes it back", s, s, p.Number, phases.InPlace)
	}
	return err
}

// switchTo makes the rest of the run use another strategy.
func (r *run) switchTo(s phases.Strategy) error {
	r.Strategy = s
	r.allowAway()
	var a runrecord.About
	if _, err := r.j.GetBlob(runrecord.AboutBlob, &a); err != nil {
		return err
	}
	a.Strategy = string(s)
	return r.j.PutBlob(runrecord.AboutBlob, a)
}

// withCost adds to a block of the overlap what the other way would cost.
func withCost(b *migrate.BlockedError, away time.Duration) *migrate.BlockedError {
	with := *b
	with.Remedy += fmt.Sprintf("; in place, the API will be away for up to %.0f s", away.Seconds())
	return &with
}

// withWayOut is blocked, with what the phase would cost in place where only
// the overlap is blocked.
func withWayOut(ctx context.Context, s *Session, j *state.Journal, p phases.Phase, blocked *migrate.BlockedError) error {
	_, away, err := withoutOverlap(ctx, s, j, p, blocked)
	if err != nil {
		return errors.Join(blocked, err)
	}
	if away == 0 {
		return blocked
	}
	return withCost(blocked, away)
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
func withoutOverlap(ctx context.Context, s *Session, j *state.Journal, p phases.Phase, blocked *migrate.BlockedError) (phases.Phase, time.Duration, error) {
	other := migration.Of(s.Spec, phases.InPlace)[p.Number-1]
	if slices.ContainsFunc(other.Steps, func(st phases.Step) bool { return st.ID == blocked.Step }) {
		return p, 0, nil
	}
	entries, err := migrate.Plan(ctx, s.Access, other, j)
	if err != nil || blockedIn(entries) != nil {
		return p, 0, err
	}
	return other, OutageOf(entries), nil
}

// OutageOf is how long the API will be away, as announced by the steps that
// are still to be done.
func OutageOf(entries []migrate.Entry) time.Duration {
	var away time.Duration
	for _, e := range entries {
		if e.Finding.Verdict != migrate.Satisfied {
			away += e.Outage
		}
	}
	return away
}

// phasesAsBegun are the phases with the strategies they were begun with. Where
// it was asked for, one that was overlapped is undone in place: what an
// overlap needs may not be there any more. The other way round there is no
// second API server that could be set up again.
func phasesAsBegun(spec cluster.Spec, j *state.Journal, asked phases.Strategy, chosen bool) ([]phases.Phase, error) {
	list := migration.Declared()
	for i := range list {
		p := list[i].For(balancers.Choice(spec))
		begun, err := begunStrategy(j, p.Number)
		if err != nil {
			return nil, err
		}
		s := phases.Overlap
		switch {
		case begun == phases.InPlace && chosen && asked == phases.Overlap:
			return nil, fmt.Errorf("--strategy %s: phase %d was done with --strategy %s and must be rolled back with it: leave the flag out", asked, p.Number, phases.InPlace)
		case begun == phases.InPlace:
			s = phases.InPlace
		case chosen && asked == phases.InPlace:
			s = phases.BackInPlace
		}
		list[i] = p.For(s.Choice())
	}
	return list, nil
}

// begunStrategy is the strategy that a phase was begun with, "" where it was not
// begun or has one form only.
func begunStrategy(j *state.Journal, number int) (phases.Strategy, error) {
	known, err := j.Phase(number)
	if err != nil || known.Begun.IsZero() {
		return "", err
	}
	return phases.StrategyOf(migration.Declared()[number-1].Begun(known)), nil
}

// inPlace says whether a phase is the form of one that is overlapped otherwise.
func inPlace(p phases.Phase) bool { return phases.StrategyOf(p.Choice) == phases.InPlace }
