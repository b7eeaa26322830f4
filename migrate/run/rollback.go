package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// Rollback takes back the phase that the options name, or all of them.
func Rollback(ctx context.Context, s *Session, o Options) error {
	if _, err := os.Stat(s.Journal); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no journal %s, and only it knows what was there before: name it with --journal, or let `migrate adopt` rebuild it from the cluster", s.Journal)
	}
	return withJournal(ctx, s, o, func(r *run) error {
		list, err := r.toTakeBack(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return r.nothingBack(r.j)
		}
		changed, err := toBeTakenBack(ctx, s, r.j, list)
		if err != nil {
			return err
		}
		return r.holding(ctx, changed, func() error { return r.each(ctx, list, r.phaseBack) })
	})
}

// toTakeBack lists the phases of which something is to be undone, the last one
// first. The journal alone is asked first, and no host where it knows of nothing.
func (r *run) toTakeBack(ctx context.Context) ([]phases.Phase, error) {
	if any, err := anythingTouched(r.j); err != nil || !any {
		return nil, err
	}
	if err := awaitAPI(ctx, r.s, r.Stop, r.Operator.Say); err != nil {
		return nil, err
	}
	if err := sameCluster(ctx, r.s, r.j); err != nil {
		return nil, err
	}
	all, err := phasesAsBegun(r.s.Spec, r.j, r.Strategy, r.Chosen)
	if err != nil {
		return nil, err
	}
	return phasesBack(ctx, r.s, r.j, r.Phase, all)
}

// phaseBack asks the operator and takes one phase back.
func (r *run) phaseBack(ctx context.Context, p phases.Phase) error {
	if inPlace(p) {
		r.allowAway()
	}
	if err := r.Operator.Confirm(ctx, asBack(p)); err != nil {
		return err
	}
	if err := r.measureAnyway(ctx); err != nil {
		return err
	}
	err := r.withRunner(ctx, func(runner runner) error { return runner.Rollback(ctx, p) })
	if errors.Is(err, migrate.ErrStopped) {
		return fmt.Errorf("the rollback was stopped: `migrate rollback --phase %d` continues it, `migrate run` goes forward again: %w", p.Number, err)
	}
	return err
}

var errNothingBack = errors.New("there is nothing to undo: by the journal, nothing that can be undone was changed")

// nothingBack ends a rollback that has nothing to do. Where the journal says
// that it was all undone, which is how one ends that was killed after its
// last step and is begun again, that is well. Where nothing was ever changed it
// may be the wrong journal.
func (o Options) nothingBack(j *state.Journal) error {
	for _, p := range migration.Phases(phases.Overlap) {
		if o.Phase != 0 && p.Number != o.Phase {
			continue
		}
		list, err := j.Records(p.Number)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(r state.Record) bool { return r.Status == state.Undone }) {
			o.Operator.Say("there is nothing to undo: by the journal, everything that can be undone is undone already")
			return nil
		}
	}
	return errNothingBack
}

// anythingTouched asks the journal alone, before any host is connected to.
func anythingTouched(j *state.Journal) (bool, error) {
	for _, p := range migration.Phases(phases.Overlap) {
		list, err := j.Records(p.Number)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list, func(r state.Record) bool { return r.Status.Touched() }) {
			return true, nil
		}
	}
	return false, nil
}

// asBack words a phase for the question before its rollback.
func asBack(p phases.Phase) phases.Phase {
	p.Title, p.Why = "roll back: "+p.Title, "What the journal says was changed is undone, newest first."
	return p
}

// phasesBack lists those of all the phases that are to be undone, the last
// one first. A phase on which a later one stands is refused.
func phasesBack(ctx context.Context, s *Session, j *state.Journal, number int, all []phases.Phase) ([]phases.Phase, error) {
	var back []phases.Phase
	for _, p := range slices.Backward(all) {
		entries, err := migrate.RollbackPlan(ctx, s.Access, p, j)
		if err != nil {
			return nil, err
		}
		standing := migrate.Standing(entries)
		switch {
		case number != 0 && p.Number > number && standing:
			return nil, &migrate.BlockedError{Where: migrate.Where{Phase: p.Number, Step: entries[0].Step, Target: entries[0].Target},
				Reason: fmt.Sprintf("phase %d stands on phase %d", p.Number, number), Remedy: fmt.Sprintf("first: `migrate rollback --phase %d`", p.Number)}
		case standing && (number == 0 || p.Number == number):
			back = append(back, p)
		}
	}
	return back, nil
}

// PlanRollback is what a rollback with these options would undo, in its order, with what
// is true now. Nothing is changed.
func PlanRollback(ctx context.Context, s *Session, o Options) ([]migrate.RollbackEntry, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return nil, err
	}
	defer j.Close()
	all, err := phasesAsBegun(s.Spec, j, o.Strategy, o.Chosen)
	if err != nil {
		return nil, err
	}
	list := []migrate.RollbackEntry{}
	for _, p := range slices.Backward(all) {
		if o.Phase != 0 && o.Phase != p.Number {
			continue
		}
		entries, err := migrate.RollbackPlan(ctx, s.Access, p, j)
		if err != nil {
			return nil, err
		}
		if err := migrate.Look(ctx, s.Access, p, entries); err != nil {
			return nil, err
		}
		list = append(list, entries...)
	}
	return list, nil
}
