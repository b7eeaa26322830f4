package migrate

import (
	"errors"
	"fmt"
	"time"

	"hamigrate/state"
)

// Op is what the engine was doing to a step when something went wrong.
type Op string

// The operations.
const (
	OpNeeds      Op = "needs"
	OpCheck      Op = "check"
	OpInvariants Op = "guard"
	OpApply      Op = "apply"
	OpVerify     Op = "verify"
	OpUndo       Op = "undo"
	OpJournal    Op = "journal"
	OpPreImage   Op = "trail" // the pre-image could not be kept with the cluster; nothing was changed
)

// Where names a step on a target.
type Where struct {
	Phase  int
	Step   StepID
	Target string
}

func (w Where) String() string { return fmt.Sprintf("%s on %s", w.Step, w.Target) }

// StepError is a step that went wrong. A journal that cannot be written is
// one too (OpJournal).
type StepError struct {
	Where
	Op  Op
	Err error
	// Unwound is what became of the step's group; nil where it has none, or
	// where nothing was to be undone.
	Unwound *Unwound
}

func (e *StepError) Error() string {
	msg := fmt.Sprintf("%s: %s: %v", e.Where, e.Op, e.Err)
	if e.Unwound != nil {
		msg += "; " + e.Unwound.String()
	}
	return msg
}

// Unwrap returns the cause, and that of a way back that did not end well.
func (e *StepError) Unwrap() []error {
	if e.Unwound == nil || e.Unwound.Err == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Unwound.Err}
}

// BlockedError says that it is not safe to go on, and that the step it names
// has changed nothing. Without a step, the phase's invariants did not hold
// before its first step.
type BlockedError struct {
	Where
	Reason string // what is true now
	Remedy string // what the operator can do about it
	// Command is what Remedy ends with, behind ": ", where it is to be shown on a
	// line of its own.
	Command string
	Err     error // the cause, where there is one
}

func (e *BlockedError) Error() string {
	at := e.Where.String()
	if e.Step == "" {
		at = fmt.Sprintf("phase %d", e.Phase)
	}
	msg := fmt.Sprintf("%s is blocked: %s", at, e.Reason)
	if e.Remedy != "" {
		msg += ": " + e.Remedy
	}
	return msg
}

// Unwrap returns the cause.
func (e *BlockedError) Unwrap() error { return e.Err }

// ErrStopped says that a run stopped because it was asked to, between two steps
// or, as a *StoppedError, while it waited for what a step had done. Nothing is
// half done; the same command again carries on.
var ErrStopped = errors.New("stopped as asked, between two steps")

// StoppedError says that a run ended, as it was asked to, while it waited for
// what a step had done. It is an ErrStopped.
type StoppedError struct {
	Where
	Op     Op
	Status state.Status // how far the journal says the step is
	Last   error        // what the wait saw last; may be nil
}

func (e *StoppedError) Error() string {
	what := "it is applied, and the next run verifies it"
	if e.Status != state.Applied {
		what = "the next run checks how far it is and continues from there"
	}
	msg := fmt.Sprintf("stopped as asked while %s was waited for: %s", e.Where, what)
	if e.Last != nil {
		msg += fmt.Sprintf(" (last seen: %v)", e.Last)
	}
	return msg
}

// Unwrap makes errors.Is find ErrStopped.
func (e *StoppedError) Unwrap() error { return ErrStopped }

// InterruptedError says that a run was cancelled in the middle of a step, or
// before the first one (then without a step).
type InterruptedError struct {
	Where
	Op     Op
	Status state.Status // how far the journal says the step is
	Cause  error        // why the context ended
	Err    error        // what was under way said
}

func (e *InterruptedError) Error() string {
	var what string
	switch e.Status {
	case state.Started, state.Undoing, state.Failed:
		what = "its outcome is unknown"
	case state.Applied:
		what = "it was applied but is not verified"
	case state.Verified:
		what = "it was done before, and the invariants were not looked at"
	case state.Pending, state.Satisfied, state.Undone:
		what = "nothing was changed by it"
	}
	at := e.Where.String()
	if e.Step == "" {
		at = fmt.Sprintf("phase %d", e.Phase)
	}
	return fmt.Sprintf("interrupted during the %s of %s, %s: the next run checks first (%v)", e.Op, at, what, e.Cause)
}

// Unwrap returns the causes, so that errors.Is finds context.Canceled.
func (e *InterruptedError) Unwrap() []error { return []error{e.Cause, e.Err} }

// TimeoutError says that something polled did not become true in time.
type TimeoutError struct {
	Waited time.Duration
	Last   error // what the last attempt said
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("timed out after %s; last error: %v", e.Waited.Round(time.Millisecond), e.Last)
}

// Unwrap returns what the last attempt said.
func (e *TimeoutError) Unwrap() error { return e.Last }

// FingerprintError says that a phase which is part done was begun with
// another spec or another list of steps than the one at hand.
type FingerprintError struct {
	Phase int
	Name  string
	Spec  bool   // the spec differs; else the list of steps does
	Tool  string // version of this program that began the phase; may be empty
	// Remedy says why the steps are others, and what to do, where that is known
	// better than by the version: another strategy was asked for.
	Remedy string
}

func (e *FingerprintError) Error() string {
	begun := fmt.Sprintf("phase %d (%s) is part done", e.Phase, e.Name)
	if e.Spec {
		return begun + ", and the spec file has changed its meaning since it was begun: " +
			"run again with the spec file as it was, and change it when the phase is complete"
	}
	if e.Remedy != "" {
		return begun + ", and " + e.Remedy
	}
	tool := "the version of migrate that began it"
	if e.Tool != "" {
		tool = "version " + e.Tool + " of migrate, which began it"
	}
	return begun + fmt.Sprintf(", and this version of migrate has other steps for it: complete the phase with %s, or take it back with `migrate rollback --phase %d`", tool, e.Phase)
}
