package run

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/lease"
	"hamigrate/migrate/remote"
	"hamigrate/state"
)

// closingLook is how long the last look at the cluster may take.
const closingLook = 5 * time.Second

// ending tells how a run or a rollback ended that did not end well: what is
// true now, what was changed, and the one next command.
type ending struct {
	listener listener // nil: nobody is told
	s        *Session
	command  string // "run" or "rollback"
	flags    string // as given, for any next command: " --file x"
	how      string // as given, for the same command: " --strategy in-place"
	phase    int    // of --phase; 0: all
	plan     string // of --plan; "": none
	first    int    // entries of the journal's history before this command
	told     error  // what it ended with
}

func newEnding(s *Session, o Options) *ending {
	if o.PlanFile != "" { // it says for which phase it is
		o.Phase = 0
	}
	return &ending{listener: o.Listener, s: s, command: o.Command, flags: s.Given, how: o.How, phase: o.Phase, plan: o.PlanFile}
}

// begin notes how long the journal's history is.
func (e *ending) begin(j *state.Journal) {
	if log, err := j.Log(); err == nil {
		e.first = len(log)
	}
}

// say tells the error and what is true then. j may be nil: the journal could
// not be opened. It returns err as one that was told.
func (e *ending) say(ctx context.Context, j *state.Journal, err error) error {
	if e.listener == nil || err == nil || errors.Is(err, errNothingBack) {
		return err
	}
	err = InOwnWords(ctx, err)
	e.listener.Failed(err)
	e.told = err
	looking, cancel := context.WithTimeout(WithoutQuestions(context.WithoutCancel(ctx)), closingLook)
	defer cancel()
	rows := [][2]string{{"It ended", HowItEnded(err)}}
	if !errors.Is(err, ErrSignalled) { // else it is to end at once, and all is as it was
		rows = append(rows, e.seen(looking, j)...)
	}
	rows = append(rows, e.changed(j)...)
	e.listener.Ended(append(rows, [2]string{"Next", e.next(err)}))
	return ToldError{err}
}

// because is what is not so, and why, unless the error has told that already: a host
// that is not reached is the reason of the error and of all that is not seen.
func (e *ending) because(what string, err error) string {
	why := FirstLine(err)
	if e.told == nil {
		return what + ": " + why
	}
	known, now := ownPort.ReplaceAllString(e.told.Error(), ""), ownPort.ReplaceAllString(why, "")
	if strings.Contains(known, now) || strings.Contains(now, ownPort.ReplaceAllString(FirstLine(e.told), "")) {
		return what + ", for the same reason"
	}
	return what + ": " + why
}

// ownPort is the end of a connection on this machine, as Go tells it: another one each
// time.
var ownPort = regexp.MustCompile(`\S+->`)

// HowItEnded is one clause: where, and whether anything is half done.
func HowItEnded(err error) string {
	err = ofPhases(err)
	var after *endedError
	var step *migrate.StepError
	var blocked *migrate.BlockedError
	var interrupted *migrate.InterruptedError
	var stopped *migrate.StoppedError
	switch {
	case errors.As(err, &after):
		return "after the last step, while the measurement was ended"
	case errors.As(err, &stopped) && stopped.Status == state.Applied:
		return fmt.Sprintf("while %s was waited for, as asked: nothing is half done, and the next run verifies it", stopped.Where)
	case errors.As(err, &stopped):
		return fmt.Sprintf("while %s was waited for, as asked: the next run checks and continues from there", stopped.Where)
	case errors.Is(err, migrate.ErrStopped):
		return "between two steps, as asked: nothing is half done"
	case errors.As(err, &interrupted) && interrupted.Step != "":
		return fmt.Sprintf("in the middle of %s: %s", interrupted.Where, unknownNow(interrupted.Status))
	case errors.As(err, &interrupted), errors.Is(err, context.Canceled):
		return "before a step was begun"
	case errors.As(err, new(*lease.HeldError)), errors.Is(err, state.ErrLocked):
		return "before it began: another run has the cluster"
	case errors.As(err, new(*driftError)):
		return "before it began: the plan is not what would be done now"
	case errors.As(err, &blocked) && blocked.Step != "":
		return fmt.Sprintf("before %s, which has changed nothing", blocked.Where)
	case errors.As(err, &blocked):
		return fmt.Sprintf("before a step of phase %d was begun", blocked.Phase)
	case errors.As(err, &step) && step.Unwound != nil && step.Unwound.Err == nil:
		return fmt.Sprintf("in %s; the whole step group was undone", step.Where)
	case errors.As(err, &step) && (step.Unwound != nil || step.Op == migrate.OpUndo):
		return fmt.Sprintf("while undoing %s: it needs a person", step.Where)
	case errors.As(err, &step) && step.Op == migrate.OpJournal:
		return fmt.Sprintf("in %s: the journal could not be written, and nothing is done without it", step.Where)
	case errors.As(err, &step):
		return fmt.Sprintf("in the %s of %s", step.Op, step.Where)
	}
	return "with an error outside of any step"
}

func unknownNow(s state.Status) string {
	switch s {
	case state.Started, state.Failed:
		return "it may be half done"
	case state.Undoing:
		return "it may be half undone"
	case state.Applied:
		return "it was applied and its result was not seen yet"
	case state.Verified:
		return "it is done, and what must hold afterwards was not looked at"
	case state.Pending, state.Satisfied, state.Undone:
	}
	return "it has changed nothing"
}

// next is the one command to go on with.
func (e *ending) next(err error) string {
	err = ofPhases(err)
	what := ""
	if e.plan != "" {
		what += " --plan " + remote.Quote(e.plan)
	}
	if e.phase != 0 {
		what += fmt.Sprintf(" --phase %d", e.phase)
	}
	again := "migrate " + e.command + e.flags + e.how + what
	var held *lease.HeldError
	var step *migrate.StepError
	var format *state.FormatError
	switch {
	case errors.As(err, &held) && held.Stale():
		return "migrate unlock" + e.flags
	case errors.As(err, &held), errors.Is(err, state.ErrLocked):
		return again + "    (when the other one has ended)"
	case errors.As(err, &format) && format.Found == 0:
		return "migrate adopt" + e.flags + "    (when the file was moved away)"
	case errors.As(err, new(*driftError)):
		return "migrate plan" + e.flags + "    (then save it with --out, and run that)"
	case errors.Is(err, migrate.ErrStopped):
		return again
	case errors.As(err, &step) && (step.Unwound != nil && step.Unwound.Err != nil || step.Op == migrate.OpUndo):
		return "migrate status" + e.flags + "    (then fix what the first line names, and `" + again + "`)"
	case errors.As(err, new(*migrate.InterruptedError)), errors.Is(err, context.Canceled):
		return again + "    (it looks first)"
	case errors.As(err, new(*migrate.FingerprintError)): // what it asks for may be another strategy
		return "migrate " + e.command + e.flags + what + "    (with the spec and the version that the first line asks for)"
	}
	return again + "    (after you have fixed what the first line names)"
}

// FirstLine is an error in short: what follows is for its own place.
func FirstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
