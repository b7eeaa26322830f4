package conformance_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/state"
)

// lose removes the journal and rebuilds it from the world.
func lose(o *conformance.Operator, t *testing.T, list []phases.Phase) (*conformance.Operator, map[string]migrate.Adopted) {
	t.Helper()
	o.Close()
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	n := conformance.NewOperator(t, o.World, filepath.Join(t.TempDir(), "journal"))
	traces, err := n.Env.PreImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	was := len(o.World.Faults.Ops())
	out := map[string]migrate.Adopted{}
	for _, p := range list {
		steps, err := migrate.Adopt(t.Context(), n.Env, p, migrate.Adoption{PreImages: traces, Ours: n.Env.Ours, Spec: o.World.Spec.Fingerprint}, n.Journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			out[string(s.Step)+"@"+s.Target] = s
		}
	}
	if now := len(o.World.Faults.Ops()); now != was {
		t.Errorf("adopting changed the world: %q", o.World.Faults.Ops()[was:])
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
	starts, _ := conformance.Chains(t)
	for _, r := range starts {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := r.Start.World(t)
				defer w.Close()
				o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
				if err := o.RunPhase(t.Context(), r.Phase); err != nil {
					t.Fatal(err)
				}
				was := kept(t, o.Journal, r.Phase)
				o, said := lose(o, t, []phases.Phase{r.Phase})
				defer o.Close()
				if diff := cmp.Diff(was, kept(t, o.Journal, r.Phase)); diff != "" || len(was) == 0 {
					t.Errorf("of %d records (-lost +adopted):\n%s", len(was), diff)
				}
				for name, s := range said {
					if s.Unknown != "" {
						t.Errorf("%s: %s", name, s.Unknown)
					}
				}
				ops := len(w.Faults.Ops())
				if err := o.RunPhase(t.Context(), r.Phase); err != nil {
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
	runs, _ := conformance.Chains(t)
	for _, r := range runs {
		if r.Phase.Name == "etcd" { // its way back has tests of its own
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
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

func adoptedBack(t *testing.T, r conformance.Run, loses bool) map[string]string {
	w := r.Start.World(t)
	defer w.Close()
	o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatal(err)
	}
	if loses {
		o, _ = lose(o, t, []phases.Phase{r.Phase})
	}
	defer o.Close()
	runner := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: w.Spec.Fingerprint}
	if err := runner.Rollback(t.Context(), r.Phase); err != nil {
		t.Fatal(err)
	}
	traces, err := o.Env.PreImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range traces {
		if left.Phase == r.Phase.Number {
			t.Errorf("a trace of %s on %s is left", left.Step, left.Target)
		}
	}
	w.Pass(conformance.Lasting)
	return w.State()
}

// TestAnAdoptedHalfPhaseGoesOn loses the journal with the program's death at
// some instants of phase 1 and wants the end of an uninterrupted run.
func TestAnAdoptedHalfPhaseGoesOn(t *testing.T) {
	runs, all := conformance.Chains(t)
	deaths := slices.DeleteFunc(slices.Clone(all), func(d conformance.Death) bool { return d.Phase != 1 })
	resumed := 0
	for i, d := range deaths {
		if i%7 != 3 {
			continue
		}
		resumed++
		r := runs[slices.IndexFunc(runs, func(r conformance.Run) bool { return r.Name == d.Run })]
		t.Run(r.Name+" "+conformance.Label(d.Op, d.When), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := d.World.World(t)
				defer w.Close()
				o, _ := lose(conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal")), t, []phases.Phase{r.Phase})
				defer o.Close()
				if err := o.RunPhase(t.Context(), r.Phase); err != nil {
					t.Fatalf("%v; never may be: %q", err, w.Broken())
				}
				conformance.SameEnd(t, w, r)
			})
		})
	}
	t.Logf("%d of %d instants", resumed, len(deaths))
}
