package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/state"
)

// Unwound is what became of a step group after one of its steps failed.
type Unwound struct {
	Group string
	// Undone are the steps that were undone, newest first.
	Undone []Where
	// InPlace are the steps that are not, newest first: they, or a part of what
	// they do, are still in place.
	InPlace []Where
	// Err is why the unwinding ended before its end, or why the invariants do
	// not hold after it. Nil: all is as it was before the step group.
	Err error
}

func (b *Unwound) String() string {
	var parts []string
	if len(b.Undone) > 0 {
		parts = append(parts, "undone: "+join(b.Undone))
	}
	switch {
	case b.Err != nil && len(b.InPlace) > 0:
		parts = append(parts, fmt.Sprintf("undoing ended with an error: %v", b.Err),
			fmt.Sprintf("still in place: %s: `migrate run` checks first and continues from there", join(b.InPlace)))
	case b.Err != nil:
		parts = append(parts, fmt.Sprintf("all is undone, and the cluster is not healthy: %v", b.Err))
	default:
		parts = append(parts, "the cluster is as it was before these steps: fix the cause, then `migrate run` begins them again")
	}
	return strings.Join(parts, "; ")
}

func join(steps []Where) string {
	words := make([]string, len(steps))
	for i, w := range steps {
		words[i] = w.String()
	}
	return strings.Join(words, ", ")
}

// unwind undoes the step group when err says that its Apply, what
// comes just before it, or its Verify failed, and adds to err what became of
// it. Steps that were blocked have changed nothing; a run that was interrupted, or that cannot
// write its journal, had better do nothing more.
func (s *stepRun[V, H]) unwind(ctx context.Context, err error) {
	var failed *StepError
	if s.visit.Group == "" || ctx.Err() != nil || !errors.As(err, &failed) || failed.Op != OpApply && failed.Op != OpVerify && failed.Op != OpPreImage {
		return
	}
	failed.Unwound = &Unwound{Group: s.visit.Group}
	left := s.inEffect(ctx)
	for i, one := range left {
		one.unwinding = true
		if failed.Unwound.Err = one.undo(ctx, fmt.Sprintf("%s failed", s.where())); failed.Unwound.Err != nil {
			left = left[i:]
			break
		}
		failed.Unwound.Undone = append(failed.Unwound.Undone, one.where())
	}
	if failed.Unwound.Err != nil {
		for _, one := range left {
			failed.Unwound.InPlace = append(failed.Unwound.InPlace, one.where())
		}
		return
	}
	if err := s.awaitInvariants(ctx, nil, s.event("", "")); err != nil {
		failed.Unwound.Err = s.broken(ctx, OpInvariants, err)
	}
}

// inEffect lists the steps of the group to be undone, newest first:
// those up to the one at hand that were touched, and of the later ones those
// that an earlier run has left. A later step may also be recorded as verified
// from a time when the whole phase was done; what the world says is not in
// effect any more is none of this group's.
func (s *stepRun[V, H]) inEffect(ctx context.Context) []*stepRun[V, H] {
	var list []*stepRun[V, H]
	for i := len(s.visits) - 1; i >= 0; i-- {
		one := &stepRun[V, H]{execution: s.execution, visit: s.visits[i], index: i + 1}
		if one.visit.Group != s.visit.Group || !one.status().Touched() {
			continue
		}
		if one.index > s.index && !one.status().Unfinished() {
			// A check that errs tells nothing; the undo will say why.
			if f, err := one.visit.check(ctx, s.Env); err == nil && f.Verdict != Satisfied {
				continue
			}
		}
		list = append(list, one)
	}
	return list
}

// undo brings the pre-image of one step back: "undoing" is committed before
// the first command, Undo is called, the step's Check is polled until it says
// Needed (time that is over is an error), and "undone" is committed. A step
// killed or failed in it is undone again, or done again by the next run: both
// begin by looking.
func (s *stepRun[V, H]) undo(ctx context.Context, why string) error {
	s.beginStep()
	defer s.endStep()
	if err := s.leftovers(ctx); err != nil {
		err = s.broken(ctx, OpUndo, err)
		s.tell(endKind(err), err.Error())
		return err
	}
	if err := s.advance(state.Change{Event: state.UndoStart, Note: why}); err != nil {
		return err
	}
	s.tell(EventStepUndoing, why)
	err := s.reconnecting(ctx, func() error { return s.takeUndo(ctx) })
	if err != nil {
		err = s.brokenAndKept(ctx, OpUndo, err)
		s.tell(endKind(err), err.Error())
		return err
	}
	if err := s.advance(state.Change{Event: state.UndoDone}); err != nil {
		return err
	}
	delete(s.done, s.key())
	s.tell(EventStepUndone, "")
	return nil
}

// takeUndo calls Undo and waits for what it wants. Undo looks for itself, so
// it may be called again where a connection was lost in it.
func (s *stepRun[V, H]) takeUndo(ctx context.Context) error {
	if s.reconnects < maxReconnects { // the attempt before was cut off
		if err := s.leftovers(ctx); err != nil {
			return err
		}
	}
	before := s.records[s.key()].Before
	if err := s.measured(func() error { return s.visit.Undo(ctx, s.Env.Writer(s.visit.target), before) }); err != nil {
		return err
	}
	if err := s.awaitNeeded(ctx); err != nil {
		return err
	}
	return s.dropPreImage(ctx)
}

// awaitNeeded polls the check until the world is one in which the step is
// still to be done.
func (s *stepRun[V, H]) awaitNeeded(ctx context.Context) error {
	s.until = time.Now().Add(s.visit.Settle)
	waited, err := poll(ctx, s.stop(), s.visit.Settle, s.stillWaiting, func(ctx context.Context) error {
		finding, err := s.visit.check(ctx, s.Env)
		if err == nil && finding.Verdict != Needed && !(finding.Verdict == Blocked && finding.Undone) {
			err = fmt.Errorf("its check says %s: %s", finding.Verdict, finding.Reason)
		}
		return err
	})
	s.stepWaited += waited
	return err
}
