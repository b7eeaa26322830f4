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

	reconnects int // how often a lost connection may still be mended
	lost       int // connections lost before this attempt

	unwinding bool      // its group is being undone, after a failure
	until     time.Time // when the wait at hand is over
	lastSaid  error     // what that wait saw last
	toldWhy   bool      // that it goes on although it was asked to stop
}

// run takes one step on one target through the six duties and tells how it
// went.
func (s *stepRun[V, H]) run(ctx context.Context) error {
	s.tell(EventStepChecking, "")
	how, message, err := s.takeUp(ctx)
	if err != nil {
		s.tell(endKind(err), err.Error())
		s.unwind(ctx, err)
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
	if err := s.keepPreImage(ctx); err != nil {
		return s.brokenAndKept(ctx, OpPreImage, err)
	}
	before := s.records[s.key()].Before // not finding.Before: this may be a retry
	if err := s.measured(func() error { return s.visit.Apply(ctx, s.Env.Writer(s.visit.target), before) }); err != nil {
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
	clock.OnWait(s.changeWaits)
	began, before := time.Now(), clock.Waited()
	err := change()
	clock.OnWait(nil)
	s.stepWaited += min(clock.Waited()-before, time.Since(began))
	return err
}

// changeWaits tells what a change waits for, and once that it is finished before
// the run stops.
func (s *stepRun[V, H]) changeWaits(said error) {
	s.lastSaid = said
	e := s.event("", "")
	if s.stopped() && !s.toldWhy {
		s.toldWhy = true
		e.Kind, e.Message = EventStepWaiting, fmt.Sprintf("asked to stop; the change in progress is completed first (%v)", said)
		s.emit(e)
		return
	}
	s.waiting(e, said)
}

// settle does duties 5 and 6: the world agrees, and the invariants hold. Both
// only look, so the invariants are checked beside the first attempt of Verify. A run that
// is asked to stop ends here, unless the step is no place for that: what it has
// changed is in the journal as applied, and the next run verifies it.
func (s *stepRun[V, H]) settle(ctx context.Context) error {
	verify := func(ctx context.Context) error { return s.visit.Verify(ctx, s.Env.Reader(s.visit.target)) }
	held := s.checkBeside(ctx)
	s.until = time.Now().Add(s.visit.Settle)
	waited, err := poll(ctx, s.stop(), s.visit.Settle, s.stillWaiting, verify)
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
	s.until = time.Now().Add(s.phase.InvariantsSettle)
	switch err := s.awaitInvariants(ctx, s.stop(), s.event("", "")); {
	case err == nil:
		return nil
	case errors.Is(err, ErrStopped) && ctx.Err() == nil:
		return ErrStopped // it is verified: this is between two steps
	default:
		return s.broken(ctx, OpInvariants, err)
	}
}

// checkBeside checks the invariants once, beside what follows. held ends that and
// returns when the invariants held: zero where it did not, where its answer takes a
// second, and where the answer is a second old by then. Such an answer is about
// another moment.
func (s *stepRun[V, H]) checkBeside(ctx context.Context) (held func() time.Time) {
	ctx, giveUp := context.WithCancel(ctx)
	began, answer := time.Now(), make(chan time.Time, 1)
	go func() {
		if err := s.phase.Invariants(ctx, s.Env.Reader(ClusterTarget)); err != nil {
			s.Log.Debug("the invariants do not hold beside Verify", "step", s.visit.ID, "node", s.visit.target, "error", err)
			answer <- time.Time{}
			return
		}
		answer <- time.Now()
	}()
	return func() time.Time {
		defer giveUp()
		late := time.AfterFunc(invariantsFresh-time.Since(began), giveUp)
		defer late.Stop()
		at := <-answer
		if time.Since(at) >= invariantsFresh {
			return time.Time{}
		}
		return at
	}
}

// stillWaiting tells whom the step waits for, and once, when the run is asked
// to stop and does not, why that is so.
func (s *stepRun[V, H]) stillWaiting(err error) {
	s.lastSaid = err
	e := s.event("", "")
	e.WaitsFor = s.visit.WaitsFor
	if why := s.mustGoOn(); why != "" && s.stopped() && !s.toldWhy {
		s.toldWhy = true
		e.Kind, e.Message = EventStepWaiting, fmt.Sprintf("asked to stop, and it goes on for at most %s, since %s (%v)",
			max(time.Until(s.until), 0).Round(time.Second), why, err)
		s.emit(e)
		return
	}
	s.waiting(e, err)
}

// stop is what ends a wait of this step early; nil where nothing does.
func (s *stepRun[V, H]) stop() <-chan struct{} {
	if s.mustGoOn() != "" {
		return nil
	}
	return s.Stop
}

// mustGoOn says why a run that is asked to stop does not end while this step is
// waited for; "" where it does.
func (s *stepRun[V, H]) mustGoOn() string {
	switch {
	case s.unwinding:
		return "the step group is being undone"
	case s.visit.KeepGoing, s.holding:
		return "the cluster must not stay as it is between these steps"
	case s.visit.Group != "":
		return "this step is part of a group, which is undone if it fails"
	case s.visit.Outage > 0:
		return "the API may be away until this is so"
	}
	return ""
}

// brokenAndKept is broken with the failure written to the journal. A step
// that was interrupted, or is about to be taken up again, did not fail: its
// record stays where it is, which means that its outcome is unknown. Nor did
// one whose wait was ended as asked.
func (s *stepRun[V, H]) brokenAndKept(ctx context.Context, op Op, err error) error {
	if ctx.Err() == nil && errors.Is(err, ErrStopped) {
		return &StoppedError{Where: s.where(), Op: op, Status: s.status(), Last: s.lastSaid}
	}
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
// before the first of them. What the check of the invariants saw before is old from then on.
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
