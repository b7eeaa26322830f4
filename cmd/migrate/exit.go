package main

import (
	"errors"

	"hamigrate/migrate/run"
)

const exitStatus = `EXIT STATUS
   0 done · 1 error · 2 changes pending (plan --detailed-exitcode) · 3 blocked by a check
   4 stopped safely, resumable · 5 failed, and the whole step group was undone
   6 degraded, or undoing failed: needs a human · 7 locked by another operator · 130 interrupted`

// remoteStatus passes on the exit status of a command run on a host.
type remoteStatus int

func (remoteStatus) Error() string { return "the command on the host ended with another status than 0" }

// isSilent: these tell everything by their exit code, or have been told.
func isSilent(err error) bool {
	var status remoteStatus
	return errors.Is(err, run.ErrChangesPending) || errors.As(err, &status) || errors.As(err, new(run.ToldError))
}

// exitCode is how the program ends: with the status of a command on a host that it ran
// for the operator, or with the outcome.
func exitCode(err error) int {
	var status remoteStatus
	if errors.As(err, &status) {
		return int(status)
	}
	return int(run.OutcomeOf(err))
}
