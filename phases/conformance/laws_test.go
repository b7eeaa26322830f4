package conformance_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestLawsOfEveryStep goes through all phases by hand and holds each step, on
// each of its targets, to what the engine relies on:
//
//   - Check changes nothing, and neither does Verify;
//   - after Apply, Verify becomes nil and Check Satisfied;
//   - Apply twice is Apply once;
//   - Undo changes nothing where nothing was applied; after it Check becomes
//     Needed; Undo twice is Undo once; and the steps of a step group, undone in
//     the reverse order, leave the world as it was before them.
func TestLawsOfEveryStep(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { laws(t, strategy) })
		})
	}
	t.Run("haproxy", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { laws(t, phases.InPlace, simulator.HAProxy) })
	})
}

func laws(t *testing.T, strategy phases.Strategy, options ...simulator.Option) {
	w := simulator.New(t, options...)
	defer w.Close()
	env := w.Connect()
	defer env.Close()
	applied, undone := 0, 0
	for _, p := range conformance.PhasesOf(w.Spec, strategy) {
		plan, err := migrate.Plan(t.Context(), env, p, conformance.NoJournal{})
		if err != nil {
			t.Fatal(err)
		}
		steps := map[migrate.StepID]phases.Step{}
		for _, s := range p.Steps {
			steps[s.ID] = s
		}
		var group []conformance.Law
		var before map[string]string
		for i, e := range plan {
			l := conformance.Law{T: t, World: w, Env: env, Step: steps[e.Step], Target: e.Target}
			if len(group) == 0 {
				before = w.State()
			}
			var changed bool
			if l.Before, changed = l.Hold(); changed {
				applied++
				if l.Step.Group != "" {
					group = append(group, l)
				}
			}
			if len(group) > 0 && (i == len(plan)-1 || steps[plan[i+1].Step].Group != l.Step.Group) {
				undone += backAndForth(group, before)
				group = nil
			}
		}
	}
	t.Logf("%d changes, %d of them undone and made again", applied, undone)
}

// backAndForth undoes the steps of a step group, newest first, compares the world
// with the one before them, and applies them again.
func backAndForth(group []conformance.Law, before map[string]string) int {
	for _, l := range slices.Backward(group) {
		l.Undo(l.T.Context())
		once := l.World.State()
		l.Undo(l.T.Context())
		if twice := l.World.State(); !maps.Equal(once, twice) {
			l.Fatal("undone twice, the world is another one than undone once:\n%s", cmp.Diff(once, twice))
		}
	}
	if now := conformance.WithoutCopies(group[0].World.State()); !maps.Equal(before, now) {
		group[0].Fatal("undone with the steps after it, the world is another one than before it:\n%s", cmp.Diff(before, now))
	}
	for _, l := range group {
		if _, changed := l.Hold(); !changed {
			l.Fatal("undone, and there is nothing to apply")
		}
	}
	return len(group)
}
