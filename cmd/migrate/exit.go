package main

import (
	"errors"

	"hamigrate/migrate/run"
)

const exitStatus = `EXIT STATUS
   0 done · 1 error · 2 changes pending (plan --detailed-exitcode) · 3 blocked by a check
   4 stopped safely, resumable · 5 failed, and the whole step group was undone
   6 degraded, or undoing failed: needs a human · 7 locked by another operator · 130 interrupted`

// isSilent: these tell everything by their exit code, or have been told.
func isSilent(err error) bool {
	return errors.Is(err, run.ErrChangesPending) || errors.As(err, new(run.ToldError))
}
