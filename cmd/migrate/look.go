package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// lookLasts is how long one look at a phase is good for the questions that
// are asked before it begins: whether a step is blocked, whether anything is
// to be done at all. A person may think for an hour before the yes. Nothing
// is changed by these answers: each step looks for itself before it acts.
const lookLasts = time.Minute

// look is what the checks of one phase's steps saw.
type look struct {
	of      string // the declaration's fingerprint
	at      time.Time
	entries []migrate.Entry
}

// look checks every step of a phase, or returns what that saw a moment ago:
// on real hosts it is a hundred commands.
func (w *watched) look(ctx context.Context, p phases.Phase) ([]migrate.Entry, error) {
	if of := migrate.Fingerprint(p); w.seen.of != of || time.Since(w.seen.at) > lookLasts {
		entries, err := migrate.Plan(ctx, w.s.world, p, w.j)
		if err != nil {
			return nil, err
		}
		w.seen = look{of, time.Now(), entries}
	}
	return w.seen.entries, nil
}

// nothingToDo says that every step of a phase is satisfied.
func (w *watched) nothingToDo(ctx context.Context, p phases.Phase) (bool, error) {
	entries, err := w.look(ctx, p)
	return err == nil && !slices.ContainsFunc(entries, unsatisfied), err
}

func unsatisfied(e migrate.Entry) bool { return e.Finding.Verdict != migrate.Satisfied }

// earlierPhases refuses a phase whose predecessors are not done: what the
// cluster shows counts, not what the journal says. One that this process has
// just brought to its end was seen so by its last checks.
func (w *watched) earlierPhases(ctx context.Context, p phases.Phase) error {
	for _, earlier := range allPhases(w.strategy)[:p.Number-1] {
		if w.done[earlier.Number] {
			continue
		}
		entries, err := migrate.Plan(ctx, w.s.world, earlier, w.j)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(entries, unsatisfied); i >= 0 {
			return &migrate.BlockedError{
				Where:  migrate.Where{Phase: earlier.Number, Step: entries[i].Step, Target: entries[i].Target},
				Reason: fmt.Sprintf("phase %d needs phase %d, and there %s", p.Number, earlier.Number, entries[i].Finding.Reason),
				Remedy: fmt.Sprintf("migrate run --phase %d", earlier.Number),
			}
		}
	}
	return nil
}
