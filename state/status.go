package state

import (
	"fmt"
	"slices"
)

// Status is how far a step got on a target.
type Status string

// The statuses.
//
//	pending ──▶ satisfied                     (adopted: pending ──▶ verified)
//	   │            │
//	   └──▶ started ◀┘ ──▶ applied ──▶ verified
//	            │             │            │
//	            ├─────────────┴────────────┴──▶ undoing ──▶ undone
//	            └──▶ failed (keeps where)
const (
	Pending   Status = "pending"   // never looked at, or no record
	Satisfied Status = "satisfied" // found done at first sight; never undone by us
	Started   Status = "started"   // outcome unknown until applied is committed
	Applied   Status = "applied"   // Apply returned without an error
	Verified  Status = "verified"  // the world says so
	Undoing   Status = "undoing"   // outcome of the undo unknown
	Undone    Status = "undone"    // the pre-image is back
	Failed    Status = "failed"    // see Record.FailedIn
)

// Statuses lists every status, in the order of a step's life.
func Statuses() []Status {
	return []Status{Pending, Satisfied, Started, Applied, Verified, Undoing, Undone, Failed}
}

// Event is what happened to a step.
type Event string

// The events.
const (
	Found      Event = "found satisfied" // the check found nothing to do, and we had done nothing
	Start      Event = "start"           // about to touch the world
	ApplyDone  Event = "apply done"
	VerifyDone Event = "verify done"
	UndoStart  Event = "undo start" // about to bring the pre-image back
	UndoDone   Event = "undo done"
	Fail       Event = "fail"
	Adopt      Event = "adopt" // a lost journal is rebuilt: the step was ours and is done
)

// Events lists every event.
func Events() []Event {
	return []Event{Found, Start, ApplyDone, VerifyDone, UndoStart, UndoDone, Fail, Adopt}
}

// Next is the transition table: the status that follows s when e happens, or
// a *TransitionError when e cannot happen to a step in s.
//
// Three rules shape it. A step may be started again from anywhere, because
// the world may have drifted and the world decides. A step that we touched
// never becomes Satisfied, because that would lose its undo. A step that we
// did not touch is never undone.
func Next(s Status, e Event) (Status, error) {
	from, to := transition(e)
	if !slices.Contains(from, s) {
		return "", &TransitionError{From: s, Event: e}
	}
	return to, nil
}

func transition(e Event) (from []Status, to Status) {
	switch e {
	case Found:
		return []Status{Pending, Undone}, Satisfied
	case Start:
		return Statuses(), Started
	case ApplyDone:
		return []Status{Started}, Applied
	case VerifyDone:
		// From Started: killed between the effect and the commit of Applied.
		// From Undoing: the undo was killed before it had an effect.
		return []Status{Started, Applied, Undoing, Failed}, Verified
	case UndoStart:
		return []Status{Started, Applied, Verified, Undoing, Failed}, Undoing
	case UndoDone:
		return []Status{Undoing}, Undone
	case Fail:
		return []Status{Started, Applied, Undoing, Failed}, Failed
	case Adopt:
		return []Status{Pending}, Verified
	default:
		return nil, ""
	}
}

// Touched says whether a step in this status has, or may have, changed the
// world: the steps that a rollback must undo.
func (s Status) Touched() bool {
	switch s {
	case Started, Applied, Verified, Undoing, Failed:
		return true
	case Pending, Satisfied, Undone:
		return false
	default:
		return false
	}
}

// Unfinished says whether a step in this status was left in the middle, so
// that what it did to the world is not known to be whole.
func (s Status) Unfinished() bool { return s.Touched() && s != Verified }

// TransitionError is an event that cannot happen to a step in its status. It
// is a bug of the caller, never a mistake of the operator.
type TransitionError struct {
	From  Status
	Event Event
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("journal: %q cannot happen to a step that is %s", string(e.Event), e.From)
}
