package phasestest_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
)

// TestLawsOfEveryStep goes through all phases by hand and holds each step, on
// each of its targets, to what the engine relies on:
//
//   - Check changes nothing, and neither does Verify;
//   - after Apply, Verify becomes nil and Check Satisfied;
//   - Apply twice is Apply once;
//   - Undo changes nothing where nothing was applied; after it Check becomes
//     Needed; Undo twice is Undo once; and the steps of a bracket, undone in
//     the reverse order, leave the world as it was before them.
func TestLawsOfEveryStep(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { laws(t, strategy) })
		})
	}
}

func laws(t *testing.T, strategy phases.Strategy) {
	w := phasestest.New(t)
	defer w.Close()
	env := w.Connect()
	defer env.Close()
	applied, undone := 0, 0
	for _, p := range allPhases(strategy) {
		plan, err := migrate.Plan(t.Context(), env, p, noJournal{})
		if err != nil {
			t.Fatal(err)
		}
		steps := map[migrate.StepID]phases.Step{}
		for _, s := range p.Steps {
			steps[s.ID] = s
		}
		var bracket []law
		var before map[string]string
		for i, e := range plan {
			l := law{t: t, world: w, env: env, step: steps[e.Step], target: e.Target}
			if len(bracket) == 0 {
				before = w.State()
			}
			var changed bool
			if l.before, changed = l.hold(); changed {
				applied++
				if l.step.Bracket != "" {
					bracket = append(bracket, l)
				}
			}
			if len(bracket) > 0 && (i == len(plan)-1 || steps[plan[i+1].Step].Bracket != l.step.Bracket) {
				undone += backAndForth(bracket, before)
				bracket = nil
			}
		}
	}
	t.Logf("%d changes, %d of them taken back and made again", applied, undone)
}

// backAndForth undoes the steps of a bracket, newest first, compares the world
// with the one before them, and applies them again.
func backAndForth(bracket []law, before map[string]string) int {
	for _, l := range slices.Backward(bracket) {
		l.undo(l.t.Context())
		once := l.world.State()
		l.undo(l.t.Context())
		if twice := l.world.State(); !maps.Equal(once, twice) {
			l.fatal("undone twice, the world is another one than undone once:\n%s", cmp.Diff(once, twice))
		}
	}
	if now := withoutCopies(bracket[0].world.State()); !maps.Equal(before, now) {
		bracket[0].fatal("undone with the steps after it, the world is another one than before it:\n%s", cmp.Diff(before, now))
	}
	for _, l := range bracket {
		if _, changed := l.hold(); !changed {
			l.fatal("undone, and there is nothing to apply")
		}
	}
	return len(bracket)
}
