package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/lease"
	"hamigrate/phases/preflight"
	"hamigrate/phases/verify"
	"hamigrate/state"
)

// ToldError is an error that the user has read already.
type ToldError struct{ error }

// Unwrap is the error that was told.
func (e ToldError) Unwrap() error { return e.error }

// ErrChangesPending is how plan --detailed-exitcode says that there is
// something to do.
var ErrChangesPending = errors.New("changes pending")

// PreflightError says which checks block.
type PreflightError struct{ Blocking []preflight.Result }

func (e *PreflightError) Error() string {
	var names []string
	for _, r := range e.Blocking {
		if !slices.Contains(names, r.Check) {
			names = append(names, r.Check)
		}
	}
	return fmt.Sprintf("preflight: %s. Do what it says, or let what you know to be harmless pass: --ignore %s",
		describeBlocking(e.Blocking), strings.Join(names, ","))
}

// DegradedError says what is not so on a cluster.
type DegradedError struct{ Bad []verify.Result }

func (e *DegradedError) Error() string {
	r := e.Bad[0]
	more := ""
	if n := len(e.Bad) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("verify: check %d %s, on %s: %s%s. Do what it says and verify again; where the migration is not finished, `migrate status` shows how far it is",
		r.Number, r.Check, r.Host, r.Seen, more)
}

// endedError is that the measurement did not end well, after phases that ended with
// another error, or well. It may be waited for for minutes, and be interrupted. How the
// command ended is said by the phases.
type endedError struct{ phases, after error }

func (e *endedError) Error() string { return errors.Join(e.phases, e.after).Error() }

// Unwrap lists both, as errors.Join does it.
func (e *endedError) Unwrap() []error {
	if e.phases == nil {
		return []error{e.after}
	}
	return []error{e.phases, e.after}
}

// ofPhases is the part of an error that says how phases ended.
func ofPhases(err error) error {
	var e *endedError
	if errors.As(err, &e) && e.phases != nil {
		return e.phases
	}
	return err
}

// Outcome is how a command ended. Its number is the exit code, which is a contract
// with scripts.
type Outcome int

// The outcomes of commands.
const (
	Done           Outcome = 0
	Failed         Outcome = 1
	ChangesPending Outcome = 2   // plan --detailed-exitcode
	Blocked        Outcome = 3   // by a check or an invariant: the step named has changed nothing
	Stopped        Outcome = 4   // as asked: nothing is half done
	TakenBack      Outcome = 5   // a step failed, and the whole step group was undone
	NeedsYou       Outcome = 6   // a way back failed, or a cluster is not what the migration left
	Locked         Outcome = 7   // another run has the journal, or the cluster
	Interrupted    Outcome = 130 // before anything was changed, at a question, or in a step
)

// OutcomeOf is the one place where errors become outcomes.
func OutcomeOf(err error) Outcome {
	err = ofPhases(err)
	var blocked *migrate.BlockedError
	var interrupted *migrate.InterruptedError
	var step *migrate.StepError
	switch {
	case err == nil:
		return Done
	case errors.Is(err, ErrChangesPending):
		return ChangesPending
	case errors.Is(err, migrate.ErrStopped):
		return Stopped
	case errors.Is(err, state.ErrLocked), errors.As(err, new(*lease.HeldError)):
		return Locked
	case errors.As(err, &interrupted), errors.Is(err, context.Canceled):
		return Interrupted
	case errors.As(err, &blocked), errors.As(err, new(*PreflightError)), errors.As(err, new(*driftError)):
		return Blocked
	case errors.As(err, new(*DegradedError)):
		return NeedsYou
	case errors.As(err, &step) && step.Unwound != nil && step.Unwound.Err == nil:
		return TakenBack
	case errors.As(err, &step) && (step.Unwound != nil || step.Op == migrate.OpUndo):
		return NeedsYou
	}
	return Failed
}
