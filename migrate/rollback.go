package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/state"
)

// NotYet is the OneWay of a step whose Undo is not written yet. A phase in
// which one was done can't be rolled back; steps that are one-way for any
// other reason are left as they are.
const NotYet = "not yet"

// RollbackEntry is one row of the way back: a step on a target that the
// journal says we changed.
type RollbackEntry struct {
	Phase    int          `json:"phase"`
	Step     StepID       `json:"step"`
	Title    string       `json:"title"`
	Target   string       `json:"target"`
	Recorded state.Status `json:"recorded"`
	Before   Before       `json:"before,omitempty"` // what is brought back
	// Changes are the diffs of the way back: what the step was to change when
	// it was first begun, the other way round.
	Changes []Change `json:"changes,omitempty"`
	// Now is what is true on the cluster, by the step's check; only Look asks.
	Now string `json:"now,omitempty"`
	// Stays says why the step is left as it is; empty: it is undone.
	Stays string `json:"stays,omitempty"`
	// Blocked says why the phase can't be rolled back because of it.
	Blocked string `json:"blocked,omitempty"`
}

// RollbackPlan lists what a rollback of a phase would undo, in its order:
// that of the phase, backward. It looks at the journal and the declaration, not at the
// cluster: every Undo looks for itself. Steps found satisfied at the start,
// and steps undone before, are not in it.
func RollbackPlan[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H], j planJournal) ([]RollbackEntry, error) {
	if err := Validate(p); err != nil {
		return nil, err
	}
	all, err := visits(ctx, env, p)
	if err != nil {
		return nil, err
	}
	list, err := j.Records(p.Number)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	newestFirst(list, p.Number, all)
	var entries []RollbackEntry
	for _, rec := range list {
		if rec.Status.Touched() {
			entries = append(entries, rollbackEntry(rec, all))
		}
	}
	return entries, nil
}

// newestFirst sorts records against the order of the phase. The journal's own
// order is that of the last beginning of each step: a step that was undone
// and done again, as part of a step group, would come before those that stand on
// it. What is no step of the phase any more stays as it is, and comes last.
func newestFirst[V, H any](list []state.Record, number int, all []visit[V, H]) {
	at := make(map[state.Key]int, len(all))
	for i, v := range all {
		at[state.Key{Phase: number, Step: string(v.ID), Target: v.target}] = i + 1
	}
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b state.Record) int { return at[b.Key] - at[a.Key] })
}

func rollbackEntry[V, H any](rec state.Record, all []visit[V, H]) RollbackEntry {
	e := RollbackEntry{Phase: rec.Phase, Step: StepID(rec.Step), Title: rec.Step, Target: rec.Target, Recorded: rec.Status, Before: rec.Before}
	for _, ed := range rec.Edits {
		e.Changes = append(e.Changes, Change{Object: ed.Object, Before: ed.After, After: ed.Before})
	}
	i := slices.IndexFunc(all, func(v visit[V, H]) bool { return string(v.ID) == rec.Step && v.target == rec.Target })
	switch {
	case rec.Unknown != "":
		e.Blocked = rec.Unknown
		if i >= 0 {
			e.Title = all[i].Title
		}
	case i < 0:
		e.Stays = rec.Target + " is no target of the phase any more"
	case all[i].OneWay == NotYet:
		e.Title, e.Blocked = all[i].Title, "it cannot be undone yet"
	default:
		e.Title, e.Stays = all[i].Title, all[i].OneWay
	}
	return e
}

// Look asks the check of every entry that is to be undone what is true on the
// cluster now, and writes it into Now. A check that fails is told there, too:
// the way back may be what mends it.
func Look[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H], entries []RollbackEntry) error {
	all, err := visits(ctx, env, p)
	if err != nil {
		return err
	}
	byTarget(len(entries), func(i int) string { return entries[i].Target }, func(i int) bool {
		e := &entries[i]
		n := slices.IndexFunc(all, func(v visit[V, H]) bool { return v.ID == e.Step && v.target == e.Target })
		if n < 0 {
			return true
		}
		if f, err := all[n].check(ctx, env); err != nil {
			e.Now = fmt.Sprintf("not seen: %v", err)
		} else {
			e.Now = f.Reason
		}
		return ctx.Err() == nil
	})
	return ctx.Err()
}

// Standing says whether something of a phase is left that a rollback of it
// would undo.
func Standing(entries []RollbackEntry) bool {
	return slices.ContainsFunc(entries, func(e RollbackEntry) bool { return e.Stays == "" })
}

// Rollback takes a phase back: what the journal says we changed, newest
// first, each by its own step's Undo, with the invariants before and after
// each. A step found satisfied at the start is left alone, and so is one that
// is one-way for a reason. It may be stopped and killed like Run, at any
// point of a phase, and goes on when it is called again.
//
// Errors: those of Run. *BlockedError where a step has no way back yet:
// nothing was changed then.
func (r Runner[V, H]) Rollback(ctx context.Context, p Phase[V, H]) (err error) {
	entries, err := RollbackPlan(ctx, r.Env, p, r.Journal)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Blocked != "" {
			return &BlockedError{Where: Where{e.Phase, e.Step, e.Target}, Reason: e.Blocked, Remedy: "nothing was changed"}
		}
	}
	x, err := r.execute(ctx, p)
	if err != nil {
		return err
	}
	known, err := r.Journal.Phase(p.Number)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	// What it was begun with stays in the journal, however it is undone: a way back
	// that is stopped leaves a phase that is part done by that spec and those steps.
	x.choice, x.begun = known.Choice, !known.Begun.IsZero()
	end, err := r.Journal.BeginRun(p.Number)
	if err != nil {
		return fmt.Errorf("beginning a rollback of phase %d: %w", p.Number, err)
	}
	err = x.back(ctx, entries)
	if endErr := end(rollbackResult(err), false); endErr != nil {
		return errors.Join(err, fmt.Errorf("ending the rollback of phase %d: %w", p.Number, endErr))
	}
	return err
}

func rollbackResult(err error) string {
	if err == nil {
		return "rolled back"
	}
	return "rollback: " + result(err)
}

// back undoes the entries in their order.
func (x *execution[V, H]) back(ctx context.Context, entries []RollbackEntry) error {
	x.emit(Event{Kind: EventPhaseStarted, Title: "Take back: " + x.phase.Title})
	if err := x.firstInvariants(ctx); err != nil {
		x.emit(Event{Kind: endKind(err), Title: x.phase.Title, Message: err.Error()})
		return err
	}
	if err := x.reopen(entries); err != nil {
		return err
	}
	for n, e := range entries {
		i := slices.IndexFunc(x.visits, func(v visit[V, H]) bool { return v.ID == e.Step && v.target == e.Target })
		if e.Stays != "" {
			x.emit(Event{Kind: EventStepSatisfied, Step: e.Step, Title: e.Title, Target: e.Target, Index: n + 1, Message: "stays as it is: " + e.Stays})
			continue
		}
		// What the step before leaves is the state that this undo came to: one
		// that is worse to stay in than to go on from.
		x.holding = i >= 0 && i < len(x.visits) && x.visits[i].KeepGoing && n > 0
		if x.stopped() && !x.holding {
			x.emit(Event{Kind: EventStopped, Title: x.phase.Title, Index: n, Elapsed: time.Since(x.began)})
			return ErrStopped
		}
		one := &stepRun[V, H]{execution: x, visit: x.visits[i], index: n + 1}
		if err := one.undoAndCheck(ctx); err != nil {
			return err
		}
	}
	x.emit(Event{Kind: EventPhaseDone, Title: "Taken back: " + x.phase.Title, Index: len(entries), Elapsed: time.Since(x.began), Waited: x.waited})
	return nil
}

// reopen notes that a phase which was complete is not any more, before its
// first step is undone: until it is undone whole, or complete again, it is
// part done, and goes by the spec and the steps that it was begun with.
func (x *execution[V, H]) reopen(entries []RollbackEntry) error {
	known, err := x.Journal.Phase(x.phase.Number)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	if known.Completed.IsZero() || !Standing(entries) {
		return nil
	}
	if err := x.Journal.BeginPhase(x.phase.Number, known.Spec, known.Declaration, known.Choice); err != nil {
		return fmt.Errorf("reopening phase %d: %w", x.phase.Number, err)
	}
	return nil
}

// undoAndCheck is undo with the invariants around it.
func (s *stepRun[V, H]) undoAndCheck(ctx context.Context) error {
	s.beginStep()
	if !s.status().Unfinished() {
		if err := s.guardBefore(ctx, s.where(), s.status(), s.event("", "")); err != nil {
			s.tell(endKind(err), err.Error())
			return err
		}
	}
	if err := s.undo(ctx, "rollback"); err != nil {
		return err
	}
	s.until = time.Now().Add(s.phase.InvariantsSettle)
	if err := s.awaitInvariants(ctx, s.stop(), s.event("", "")); err != nil {
		if errors.Is(err, ErrStopped) && ctx.Err() == nil {
			s.tell(EventStopped, err.Error())
			return ErrStopped
		}
		err = s.broken(ctx, OpUndo, fmt.Errorf("it is undone, and the cluster is not healthy: %w", err))
		s.tell(endKind(err), err.Error())
		return err
	}
	return nil
}
