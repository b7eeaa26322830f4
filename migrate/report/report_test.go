package report

import (
	"path/filepath"
	"testing"
	"time"

	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/state"
)

// declaration is the migration, in order.
func declaration(s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase().For(s.Choice()), controlplane.Phase()}
}

// TestAPhaseTakenBack: it is neither done nor to be undone again, although
// the certificate's names stay; the migration as a whole is not finished.
func TestAPhaseTakenBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := func() time.Time { at = at.Add(time.Second); return at }
	j, err := state.Open(filepath.Join(t.TempDir(), "migrate.journal"), state.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: "small", Strategy: string(phases.Overlap)}))
	advance := func(phase int, step string, events ...state.Event) {
		t.Helper()
		for _, e := range events {
			_, err := j.Advance(state.Key{Phase: phase, Step: step, Target: "cp1"}, state.Change{Event: e})
			must(err)
		}
	}
	there := []state.Event{state.Start, state.ApplyDone, state.VerifyDone}
	back := []state.Event{state.UndoStart, state.UndoDone}
	begin := func(phase int) func(string, bool) error {
		t.Helper()
		end, err := j.BeginRun(phase)
		must(err)
		must(j.BeginPhase(phase, "spec", "steps", nil))
		return end
	}
	see := func(phase int, state string, standing bool, result string) {
		t.Helper()
		r, err := Make(j, declaration)
		must(err)
		one, _, err := pagePhase(j, declaration(phases.Overlap)[phase-1], runrecord.Timings{})
		must(err)
		if one.State() != state || one.Standing != standing || r.Result != result {
			t.Errorf("phase %d is %s, standing %v, and the whole is %s; want %s, %v and %s", phase, one.State(), one.Standing, r.Result, state, standing, result)
		}
	}

	for phase := 1; phase <= 3; phase++ {
		end := begin(phase)
		if phase == 1 {
			advance(1, "loadbalancer/serving-certificate", there...)
			advance(1, "loadbalancer/admin-conf", there...)
		}
		if phase == 3 {
			advance(3, "controlplane/host-files", there...)
		}
		must(end("done", true))
	}
	see(1, "done", true, "done")
	end := begin(1) // as a rollback's first change does
	advance(1, "loadbalancer/admin-conf", state.UndoStart)
	see(1, "not finished", true, "failed")
	advance(1, "loadbalancer/admin-conf", state.UndoDone)
	must(end("rolled back", false))
	see(1, "undone", false, "failed")
	end = begin(3)
	advance(3, "controlplane/host-files", back...)
	must(end("rolled back", false))
	see(1, "undone", false, "rolled-back")
}
