package run

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/phases/preflight"
)

// lookLasts is how long one look at a phase is good for the questions that
// are asked before it begins: whether a step is blocked, whether anything is
// to be done at all. A person may think for an hour before the yes. Nothing
// is changed by these answers: each step looks for itself before it acts.
const lookLasts = time.Minute

// look is what the checks of one phase's steps saw.
type look struct {
	of      string // the declaration's fingerprint
	at      time.Time
	entries []migrate.Entry
}

// look checks every step of a phase, or returns what that saw a moment ago:
// on real hosts it is a hundred commands.
func (r *run) look(ctx context.Context, p phases.Phase) ([]migrate.Entry, error) {
	if of := migrate.Fingerprint(p); r.seen.of != of || time.Since(r.seen.at) > lookLasts {
		entries, err := migrate.Plan(ctx, r.s.Access, p, r.j)
		if err != nil {
			return nil, err
		}
		r.seen = look{of, time.Now(), entries}
	}
	return r.seen.entries, nil
}

// nothingToDo says that every step of a phase is satisfied.
func (r *run) nothingToDo(ctx context.Context, p phases.Phase) (bool, error) {
	entries, err := r.look(ctx, p)
	return err == nil && !slices.ContainsFunc(entries, unsatisfied), err
}

func unsatisfied(e migrate.Entry) bool { return e.Finding.Verdict != migrate.Satisfied }

// earlierPhases refuses a phase whose predecessors are not done: what the
// cluster shows counts, not what the journal says. One that this process has
// just brought to its end was seen so by its last checks.
func (r *run) earlierPhases(ctx context.Context, p phases.Phase) error {
	for _, earlier := range migration.Of(r.s.Spec, r.Strategy)[:p.Number-1] {
		if r.done[earlier.Number] {
			continue
		}
		entries, err := migrate.Plan(ctx, r.s.Access, earlier, r.j)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(entries, unsatisfied); i >= 0 {
			return &migrate.BlockedError{
				Where:  migrate.Where{Phase: earlier.Number, Step: entries[i].Step, Target: entries[i].Target},
				Reason: fmt.Sprintf("phase %d needs phase %d, and there %s", p.Number, earlier.Number, entries[i].Finding.Reason),
				Remedy: fmt.Sprintf("migrate run --phase %d", earlier.Number),
			}
		}
	}
	return nil
}

// preflight does the checks that only look before a phase that has something
// to do is begun.
func (r *run) preflight(ctx context.Context, p phases.Phase) error {
	if under, _, err := underWay(r.j, p); err != nil || under {
		return err
	}
	if nothing, err := r.nothingToDo(ctx, p); err != nil || nothing {
		return err
	}
	found, err := preflight.Run(ctx, r.s.Access, preflight.Options{Phase: p.Number, Ignore: r.Ignore, LookOnly: true, InPlace: r.Strategy == phases.InPlace})
	if err != nil {
		return err
	}
	return Refuse(p.Number, found.Blocking())
}

// Refuse names the first check that blocks, and how to go on all the same.
func Refuse(phase int, blocking []preflight.Result) error {
	if len(blocking) == 0 {
		return nil
	}
	var names []string
	for _, r := range blocking {
		if !slices.Contains(names, r.Check) {
			names = append(names, r.Check)
		}
	}
	blocked := &migrate.BlockedError{Where: migrate.Where{Phase: phase}, Reason: describeBlocking(blocking), Command: blocking[0].Command}
	others := fmt.Sprintf("`migrate preflight --phase %d` shows all, --ignore-preflight %s goes on all the same", phase, strings.Join(names, ","))
	if blocked.Remedy = blocking[0].Remedy + "; " + others; blocked.Command != "" { // it comes last
		blocked.Remedy = others + "; " + blocking[0].Remedy
	}
	return blocked
}

func describeBlocking(list []preflight.Result) string {
	r := list[0]
	text := fmt.Sprintf("check %d %s blocks phase %s on %s: %s", r.Number, r.Check, Numbers(r.Phases), r.Host, r.Seen)
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Numbers lists the numbers of phases: "2, 3".
func Numbers(list []int) string {
	var out []string
	for _, p := range list {
		out = append(out, strconv.Itoa(p))
	}
	return strings.Join(out, ", ")
}
