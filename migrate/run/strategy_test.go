package run

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// TestTheStrategyOfTheWayBack: a phase goes back as it was done, and one that
// was overlapped in place where that is asked for.
func TestTheStrategyOfTheWayBack(t *testing.T) {
	t.Parallel()
	const etcd = 2
	for name, c := range map[string]struct {
		begun, asked phases.Strategy
		want         phases.Strategy // whose steps; empty: refused
		away         bool            // the API is, for a moment
	}{
		"overlapped":                    {begun: phases.Overlap, want: phases.Overlap},
		"in place":                      {begun: phases.InPlace, want: phases.InPlace, away: true},
		"overlapped, asked for so":      {begun: phases.Overlap, asked: phases.Overlap, want: phases.Overlap},
		"overlapped, without from here": {begun: phases.Overlap, asked: phases.InPlace, want: phases.Overlap, away: true},
		"in place, asked to overlap":    {begun: phases.InPlace, asked: phases.Overlap},
	} {
		byItsSteps := func(t *testing.T) *state.Journal { // of a version that did not write the strategy
			return begunAs(t, migrate.Fingerprint(migration.Phases(c.begun)[etcd-1]), nil)
		}
		written := func(t *testing.T) *state.Journal { return begunWith(t, c.begun) }
		wayBack := func(t *testing.T, j *state.Journal) {
			t.Helper()
			asked, chosen := c.asked, c.asked != ""
			if !chosen {
				asked = phases.Overlap // the flag's default
			}
			list, err := phasesAsBegun(cluster.Spec{}, j, asked, chosen)
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "leave the flag out") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if migrate.Fingerprint(list[etcd-1]) != migrate.Fingerprint(migration.Phases(c.want)[etcd-1]) {
				t.Errorf("it is not undone with the steps of %s", c.want)
			}
			away := slices.ContainsFunc(list[etcd-1].Steps, func(s phases.Step) bool { return s.ID == "etcd/repoint-apiserver" && s.Outage > 0 })
			if away != c.away {
				t.Errorf("the API is away: %t", away)
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wayBack(t, written(t))
			wayBack(t, byItsSteps(t))
		})
	}
}

// TestACompletePhaseKeepsItsStrategy: a run without the flag goes on with a
// phase as it was done, also when it is complete; once it is undone, there
// is nothing to keep.
func TestACompletePhaseKeepsItsStrategy(t *testing.T) {
	t.Parallel()
	keepsItsStrategy(t, begunWith(t, phases.InPlace))
	// Of a version that did not write the strategy.
	keepsItsStrategy(t, begunAs(t, migrate.Fingerprint(migration.Phases(phases.InPlace)[1]), nil))
}

func keepsItsStrategy(t *testing.T, j *state.Journal) {
	t.Helper()
	w := &run{s: &Session{}, j: j}
	overlap := migration.Phases(phases.Overlap)[1]
	for _, stands := range []bool{true, false} {
		as, switched, err := w.begunAs(overlap)
		if err != nil || switched != stands || inPlace(as) != stands {
			t.Errorf("stands %t: switched %t, %v", stands, switched, err)
		}
		if stands {
			undo(t, j)
		}
	}
	asked := &run{Options: Options{Chosen: true}, s: &Session{}, j: j}
	if _, switched, err := asked.begunAs(overlap); err != nil || switched {
		t.Errorf("asked for another: switched %t, %v", switched, err)
	}
}

// TestACompletePhaseIsNotRelabelled: where the other strategy is asked for, a complete
// phase stays what it was done as. Its way back would else lack what was set up.
func TestACompletePhaseIsNotRelabelled(t *testing.T) {
	t.Parallel()
	for _, begun := range []phases.Strategy{phases.Overlap, phases.InPlace} {
		asked := map[phases.Strategy]phases.Strategy{phases.Overlap: phases.InPlace, phases.InPlace: phases.Overlap}[begun]
		r := &run{Options: Options{Chosen: true, Strategy: asked}, s: &Session{}, j: begunWith(t, begun)}
		as, err := r.asBegun(migration.Phases(asked)[1])
		if err != nil || phases.StrategyOf(as.Choice) != begun || r.Strategy != asked {
			t.Errorf("done with %s, asked for %s: %s, and the rest %s, %v", begun, asked, phases.StrategyOf(as.Choice), r.Strategy, err)
		}
	}
}

// TestTheOtherStrategyIsNamed where a phase is half done with it.
func TestTheOtherStrategyIsNamed(t *testing.T) {
	t.Parallel()
	w := &run{s: &Session{}, j: begunWith(t, phases.Overlap)}
	const strategy, version = "begun with --strategy overlap: `migrate run --strategy overlap` goes on", "complete the phase with the version"
	for asked, want := range map[phases.Strategy]string{phases.InPlace: strategy, phases.Overlap: version} {
		err := w.otherStrategy(migration.Phases(asked)[1], &migrate.FingerprintError{Phase: 2, Name: "etcd"})
		if said := err.Error(); !strings.Contains(said, want) || strings.Contains(said, strategy) == strings.Contains(said, version) {
			t.Errorf("%s: got %v", asked, err)
		}
	}
	if err := w.otherStrategy(migration.Phases(phases.InPlace)[1], &migrate.FingerprintError{Spec: true}); !strings.Contains(err.Error(), "spec file") {
		t.Errorf("another spec: got %v", err)
	}
}

var touched = state.Key{Phase: 2, Step: "etcd/kubeadm-config", Target: migrate.ClusterTarget}

// begunWith is a journal of phase 2, complete, in which one step was done.
func begunWith(t *testing.T, s phases.Strategy) *state.Journal {
	t.Helper()
	return begunAs(t, migrate.Fingerprint(migration.Phases(s)[1]), map[string]string{"strategy": string(s)})
}

// begunAs is begunWith, by what the journal knows of the phase.
func begunAs(t *testing.T, declaration string, choice map[string]string) *state.Journal {
	t.Helper()
	j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	if err := j.BeginPhase(2, "spec", declaration, choice); err != nil {
		t.Fatal(err)
	}
	advance(t, j, state.Start, state.ApplyDone, state.VerifyDone)
	end, err := j.BeginRun(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := end("done", true); err != nil {
		t.Fatal(err)
	}
	return j
}

func undo(t *testing.T, j *state.Journal) {
	t.Helper()
	advance(t, j, state.UndoStart, state.UndoDone)
}

func advance(t *testing.T, j *state.Journal, events ...state.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := j.Advance(touched, state.Change{Event: e}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingBack: a way back that is done is no error when it is begun again;
// one of a phase that was never changed is.
func TestNothingBack(t *testing.T) {
	t.Parallel()
	j := begunWith(t, phases.Overlap)
	var told []string
	m := Options{Operator: Unattended{func(s string) { told = append(told, s) }}}
	if err := m.nothingBack(j); !errors.Is(err, errNothingBack) || len(told) != 0 {
		t.Errorf("nothing was undone yet: %v, told %q", err, told)
	}
	undo(t, j)
	for number, want := range map[int]error{0: nil, 1: errNothingBack, 2: nil, 3: errNothingBack} {
		told, m.Phase = nil, number
		if err := m.nothingBack(j); !errors.Is(err, want) || (len(told) == 1) != (want == nil) {
			t.Errorf("phase %d: %v, told %q", number, err, told)
		}
	}
}
