package main

import (
	"context"
	"errors"

	"hamigrate/migrate"
	"hamigrate/state"
)

const exitStatus = `EXIT STATUS
   0 done · 1 error · 2 changes pending (plan --detailed-exitcode) · 3 blocked by a check
   4 stopped safely, resumable · 5 failed, and what belongs together was taken back
   6 degraded, or the way back failed: needs a human · 7 locked by another operator · 130 interrupted`

// errChangesPending is how plan --detailed-exitcode says that there is
// something to do.
var errChangesPending = errors.New("changes pending")

// remoteStatus passes on the exit status of a command run on a host.
type remoteStatus int

func (remoteStatus) Error() string { return "the command on the host ended with another status than 0" }

// isSilent: these tell everything by their exit code, or have been told.
func isSilent(err error) bool {
	var status remoteStatus
	return errors.Is(err, errChangesPending) || errors.As(err, &status) || errors.As(err, new(toldError))
}

// exitCode is the one place where errors become exit codes; they are a
// contract with scripts.
func exitCode(err error) int {
	var blocked *migrate.BlockedError
	var interrupted *migrate.InterruptedError
	var status remoteStatus
	var step *migrate.StepError
	var refused *preflightError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errChangesPending):
		return 2
	case errors.Is(err, migrate.ErrStopped):
		return 4
	case errors.Is(err, state.ErrLocked), errors.As(err, new(*heldError)):
		return 7
	case errors.As(err, &interrupted), errors.Is(err, context.Canceled):
		return 130
	case errors.As(err, &blocked), errors.As(err, &refused), errors.As(err, new(*driftError)):
		return 3
	case errors.As(err, new(*degradedError)):
		return 6
	case errors.As(err, &step) && step.Back != nil && step.Back.Err == nil:
		return 5
	case errors.As(err, &step) && (step.Back != nil || step.Op == migrate.OpUndo):
		return 6
	}
	return 1
}
