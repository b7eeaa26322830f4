package phasestest_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

// lose removes the journal and rebuilds it from the world.
func lose(o *operator, t *testing.T, list []phases.Phase) (*operator, map[string]migrate.Adopted) {
	t.Helper()
	o.close()
	if err := os.Remove(o.path); err != nil {
		t.Fatal(err)
	}
	n := newOperator(t, o.world, filepath.Join(t.TempDir(), "journal"))
	traces, err := n.env.Traces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	was := len(o.world.Faults.Ops())
	out := map[string]migrate.Adopted{}
	for _, p := range list {
		steps, err := migrate.Adopt(t.Context(), n.env, p, migrate.Adoption{Traces: traces, Ours: n.env.Ours, Spec: o.world.Spec.Fingerprint}, n.journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			out[string(s.Step)+"@"+s.Target] = s
		}
	}
	if now := len(o.world.Faults.Ops()); now != was {
		t.Errorf("adopting changed the world: %q", o.world.Faults.Ops()[was:])
	}
	return n, out
}

// kept are what of two journals must be the same: which steps we changed, in
// which order, and what was there before each.
func kept(t *testing.T, j *state.Journal, p phases.Phase) (out []state.Record) {
	t.Helper()
	records, err := j.Records(p.Number)
	if err != nil {
		t.Fatal(err)
	}
	undoable := map[string]bool{}
	for _, s := range p.Steps {
		undoable[string(s.ID)] = s.Undo != nil || s.OneWay == migrate.NotYet
	}
	for _, r := range records {
		if r.Status.Touched() && undoable[r.Step] {
			out = append(out, state.Record{Key: r.Key, Status: r.Status, Before: r.Before, Edits: r.Edits})
		}
	}
	return out
}

// TestALostJournalIsRebuilt loses it after each phase: all steps that can be
// undone have their pre-image again, the next run finds nothing to do, and
// rollback brings the phase back to what it was.
func TestALostJournalIsRebuilt(t *testing.T) {
	starts := chains(t, nil)
	for _, r := range starts {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := r.start.World(t)
				defer w.Close()
				o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
				if err := o.run(t.Context(), r.phase); err != nil {
					t.Fatal(err)
				}
				was := kept(t, o.journal, r.phase)
				o, said := lose(o, t, []phases.Phase{r.phase})
				defer o.close()
				if diff := cmp.Diff(was, kept(t, o.journal, r.phase)); diff != "" || len(was) == 0 {
					t.Errorf("of %d records (-lost +adopted):\n%s", len(was), diff)
				}
				for name, s := range said {
					if s.Unknown != "" {
						t.Errorf("%s: %s", name, s.Unknown)
					}
				}
				ops := len(w.Faults.Ops())
				if err := o.run(t.Context(), r.phase); err != nil {
					t.Fatal(err)
				}
				if now := w.Faults.Ops()[ops:]; len(now) != 0 {
					t.Errorf("the next run changed something: %q", now)
				}
				t.Logf("%d steps on their targets, %d of them with their state of before", len(said), len(was))
			})
		})
	}
}

// TestAnAdoptedPhaseIsRolledBack wants the same end as a rollback with the
// journal that was lost.
func TestAnAdoptedPhaseIsRolledBack(t *testing.T) {
	for _, r := range chains(t, nil) {
		if r.phase.Name == "etcd" { // its way back has tests of its own
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			var ends []map[string]string
			for _, loses := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { ends = append(ends, adoptedBack(t, r, loses)) })
			}
			if len(ends) == 2 {
				if diff := cmp.Diff(ends[0], ends[1]); diff != "" {
					t.Errorf("(-with its journal +adopted):\n%s", diff)
				}
			}
		})
	}
}

func adoptedBack(t *testing.T, r run, loses bool) map[string]string {
	w := r.start.World(t)
	defer w.Close()
	o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
	if err := o.run(t.Context(), r.phase); err != nil {
		t.Fatal(err)
	}
	if loses {
		o, _ = lose(o, t, []phases.Phase{r.phase})
	}
	defer o.close()
	runner := migrate.Runner[phases.View, phases.Hands]{Env: o.env, Journal: o.journal, Spec: w.Spec.Fingerprint}
	if err := runner.Rollback(t.Context(), r.phase); err != nil {
		t.Fatal(err)
	}
	traces, err := o.env.Traces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range traces {
		if left.Phase == r.phase.Number {
			t.Errorf("a trace of %s on %s is left", left.Step, left.Target)
		}
	}
	w.Pass(lasting)
	return w.State()
}

// TestAnAdoptedHalfPhaseGoesOn loses the journal with the program's death at
// some instants of phase 1 and wants the end of an uninterrupted run.
func TestAnAdoptedHalfPhaseGoesOn(t *testing.T) {
	var deaths []death
	runs := chains(t, func(r run, o *operator) func(phasestest.Point) {
		return func(p phasestest.Point) {
			if r.phase.Number == 1 {
				deaths = append(deaths, death{Point: p, run: r.name})
			}
		}
	})
	resumed := 0
	for i, d := range deaths {
		if i%7 != 3 {
			continue
		}
		resumed++
		t.Run(label(d.Op, d.When), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := d.World.World(t)
				defer w.Close()
				o, _ := lose(newOperator(t, w, filepath.Join(t.TempDir(), "journal")), t, []phases.Phase{runs[0].phase})
				defer o.close()
				if err := o.run(t.Context(), runs[0].phase); err != nil {
					t.Fatalf("%v; never may be: %q", err, w.Broken())
				}
				sameEnd(t, w, runs[0])
			})
		})
	}
	t.Logf("%d of %d instants", resumed, len(deaths))
}
