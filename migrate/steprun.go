package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/state"
)

// stepRun is one visit of a run.
type stepRun[V, H any] struct {
	*execution[V, H]
	visit visit[V, H]
	index int

	mends int // how often a lost connection may still be mended
	lost  int // connections lost before this attempt
}

// run takes one step on one target through the six duties and tells how it
// went.
func (s *stepRun[V, H]) run(ctx context.Context) error {
	s.tell(EventStepChecking, "")
	how, message, err := s.takeUp(ctx)
	if err != nil {
		s.tell(endKind(err), err.Error())
		s.takeBack(ctx, err)
		return err
	}
	s.done[s.key()] = true
	s.tell(how, message)
	return nil
}

// take returns what to tell when the step is done.
func (s *stepRun[V, H]) take(ctx context.Context) (EventKind, string, error) {
	done := func(step StepID, target string) bool { return s.execution.done[keyOf(s.phase.Number, step, target)] }
	if missing := s.visit.unmet(s.visits, done); len(missing) > 0 {
		return "", "", s.failed(OpNeeds, fmt.Errorf("needs %v, which is not done on all its targets", missing))
	}
	if err := s.leftovers(ctx); err != nil {
		return "", "", s.broken(ctx, OpCheck, err)
	}
	finding, err := s.visit.check(ctx, s.Env)
	if err != nil {
		return "", "", s.broken(ctx, OpCheck, err)
	}
	switch {
	case finding.Verdict == Blocked:
		return "", "", &BlockedError{Where: s.where(), Reason: finding.Reason, Remedy: finding.Remedy}
	case finding.Verdict == Needed:
		return EventStepDone, "", s.change(ctx, finding)
	case s.status().Unfinished():
		// Killed, or failed, after its effect: the effect is ours, so it ends
		// as verified and keeps its pre-image.
		return EventStepDone, finding.Reason, s.settle(ctx)
	default:
		return EventStepSatisfied, finding.Reason, s.found()
	}
}

// found records a step that was satisfied at first sight. One that was
// satisfied or verified before needs no new word.
func (s *stepRun[V, H]) found() error {
	if st := s.status(); st == state.Satisfied || st == state.Verified {
		return nil
	}
	return s.advance(state.Change{Event: state.Found})
}

// change does duties 2 to 6 for a step that is needed.
func (s *stepRun[V, H]) change(ctx context.Context, finding Finding) error {
	// A step that was left unfinished may be what breaks the invariants, and
	// finishing it what mends them: they are asked for afterwards only.
	if !s.status().Unfinished() {
		if err := s.guardBefore(ctx, s.where(), s.status(), s.event("", "")); err != nil {
			return err
		}
	}
	start := state.Change{Event: state.Start, Before: finding.Before, Note: finding.Reason}
	for _, ch := range finding.Changes {
		start.Edits = append(start.Edits, state.Edit(ch))
	}
	if err := s.advance(start); err != nil {
		return err
	}
	s.tell(EventStepStarted, finding.Reason)
	if err := s.keepTrace(ctx); err != nil {
		return s.brokenAndKept(ctx, OpTrail, err)
	}
	before := s.records[s.key()].Before // not finding.Before: this may be a retry
	if err := s.measured(func() error { return s.visit.Apply(ctx, s.Env.Hands(s.visit.target), before) }); err != nil {
		return s.brokenAndKept(ctx, OpApply, err)
	}
	if err := s.advance(state.Change{Event: state.ApplyDone}); err != nil {
		return err
	}
	return s.settle(ctx)
}

// measured calls a changing function, tells what it waits for, and adds what
// the Env says that others took of its time. Commands that ran side by side
// took no more than that.
func (s *stepRun[V, H]) measured(change func() error) error {
	clock, ok := s.Env.(Waiter)
	if !ok {
		return change()
	}
	// Whom the step's Verify waits for is not who is waited for here.
	clock.OnWait(func(said error) { s.waiting(s.event("", ""), said) })
	began, before := time.Now(), clock.Waited()
	err := change()
	clock.OnWait(nil)
	s.stepWaited += min(clock.Waited()-before, time.Since(began))
	return err
}

// settle does duties 5 and 6: the world agrees, and the invariants hold. Both
// only look, so the guard begins beside the first attempt of Verify.
func (s *stepRun[V, H]) settle(ctx context.Context) error {
	verify := func(ctx context.Context) error { return s.visit.Verify(ctx, s.Env.View(s.visit.target)) }
	held := s.guardBeside(ctx)
	waited, err := poll(ctx, s.visit.Settle, s.stillWaiting, verify)
	healthy := held()
	s.stepWaited += waited
	if err != nil {
		return s.brokenAndKept(ctx, OpVerify, err)
	}
	if err := s.advance(state.Change{Event: state.VerifyDone}); err != nil {
		return err
	}
	if s.healthy = healthy; !healthy.IsZero() {
		return nil
	}
	if err := s.guard(ctx, s.event("", "")); err != nil {
		return s.broken(ctx, OpGuard, err)
	}
	return nil
}

// guardBeside asks the guard once, beside what follows. held ends that and
// returns when the guard held: zero where it did not, where its answer takes a
// second, and where the answer is a second old by then. Such an answer is about
// another moment.
func (s *stepRun[V, H]) guardBeside(ctx context.Context) (held func() time.Time) {
	ctx, giveUp := context.WithCancel(ctx)
	began, answer := time.Now(), make(chan time.Time, 1)
	go func() {
		if err := s.phase.Guard(ctx, s.Env.View(ClusterTarget)); err != nil {
			s.Log.Debug("the guard does not hold beside Verify", "step", s.visit.ID, "node", s.visit.target, "error", err)
			answer <- time.Time{}
			return
		}
		answer <- time.Now()
	}()
	return func() time.Time {
		defer giveUp()
		late := time.AfterFunc(guardFresh-time.Since(began), giveUp)
		defer late.Stop()
		at := <-answer
		if time.Since(at) >= guardFresh {
			return time.Time{}
		}
		return at
	}
}

// stillWaiting tells whom the step waits for.
func (s *stepRun[V, H]) stillWaiting(err error) {
	e := s.event("", "")
	e.WaitsFor = s.visit.WaitsFor
	s.waiting(e, err)
}

// brokenAndKept is broken with the failure written to the journal. A step
// that was interrupted, or is about to be taken up again, did not fail: its
// record stays where it is, which means that its outcome is unknown.
func (s *stepRun[V, H]) brokenAndKept(ctx context.Context, op Op, err error) error {
	if ctx.Err() == nil && !s.cutOff(ctx, err) {
		if kept := s.advance(state.Change{Event: state.Fail, Error: err.Error(), Note: string(op)}); kept != nil {
			return errors.Join(s.failed(op, err), kept)
		}
	}
	return s.broken(ctx, op, err)
}

// broken is the error of an operation: interrupted where the run was
// cancelled, failed otherwise.
func (s *stepRun[V, H]) broken(ctx context.Context, op Op, err error) error {
	if ctx.Err() != nil {
		return &InterruptedError{Where: s.where(), Op: op, Status: s.status(), Cause: context.Cause(ctx), Err: err}
	}
	return s.failed(op, err)
}

func (s *stepRun[V, H]) failed(op Op, err error) error {
	return &StepError{Where: s.where(), Op: op, Err: err}
}

// advance writes a change to the journal. The run's fingerprints are there
// before the first of them. What the guard saw before is old from then on.
func (s *stepRun[V, H]) advance(c state.Change) error {
	s.healthy = time.Time{}
	if err := s.begin(); err != nil {
		return s.failed(OpJournal, err)
	}
	rec, err := s.Journal.Advance(s.key(), c)
	if err != nil {
		return s.failed(OpJournal, err)
	}
	s.records[s.key()] = rec
	s.Log.Info("step moved on", "step", s.visit.ID, "node", s.visit.target, "status", rec.Status, "note", c.Note)
	return nil
}

func (s *stepRun[V, H]) key() state.Key { return keyOf(s.phase.Number, s.visit.ID, s.visit.target) }

func (s *stepRun[V, H]) status() state.Status { return s.records.status(s.key()) }

func (s *stepRun[V, H]) where() Where { return Where{s.phase.Number, s.visit.ID, s.visit.target} }

func (s *stepRun[V, H]) tell(kind EventKind, message string) { s.emit(s.event(kind, message)) }

func (s *stepRun[V, H]) event(kind EventKind, message string) Event {
	v := s.visit
	return Event{Kind: kind, Step: v.ID, Title: v.Title, Target: v.target, Index: s.index,
		Outage: v.Outage, Elapsed: time.Since(s.stepBegan), Waited: s.stepWaited, Message: message}
}
