package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/run"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

func TestSavedPlanFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.plan")
	s := &run.Session{Spec: cluster.Spec{Name: "small", Fingerprint: "sha256:spec"}}
	want := run.NewSavedPlan(s, "uid-1", "v1.33.1", phases.InPlace, 1, migration.Phases(phases.InPlace)[:1], onePhase(nil))
	if err := writePlan(file, outputfile.Own{}, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	got, err := run.ReadPlan(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Strategy != "in-place" || got.Made.Before(time.Now().Add(-time.Minute)) || got.Matches(file, onePhase(nil), nil) != nil {
		t.Errorf("read back: %+v", got)
	}
	for word, change := range map[string]func(*run.SavedPlan){
		"is for 1 phases and has 0":          func(p *run.SavedPlan) { p.Phases = nil },
		"is for 3 phases and has 1":          func(p *run.SavedPlan) { p.Phase = 0 },
		"the steps of phase 2 are not in it": func(p *run.SavedPlan) { p.Phase = 2 },
		"the steps of phase 1 are not in it": func(p *run.SavedPlan) { p.Phases = []run.SavedPhase{{Phase: 1}} },
		"is for a phase 4":                   func(p *run.SavedPlan) { p.Phase = 4 },
		"is for a phase -1":                  func(p *run.SavedPlan) { p.Phase = -1 },
		`it has the strategy "blue-green"`:   func(p *run.SavedPlan) { p.Strategy = "blue-green" },
	} {
		broken := want
		change(&broken)
		if err := writePlan(file, outputfile.Own{}, broken); err != nil {
			t.Fatal(err)
		}
		if _, err := run.ReadPlan(file); err == nil || !strings.Contains(err.Error(), "is not a whole plan") || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := os.WriteFile(file, []byte(`{"format": "something"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run.ReadPlan(file); err == nil || !strings.Contains(err.Error(), "is no plan that this version reads") {
		t.Errorf("got %v", err)
	}
}

// onePhase is a plan of one phase with two steps: one to be done, one done.
func onePhase(change func(*migrate.Entry)) []run.PhasePlan {
	needed := migrate.Entry{Phase: 1, Step: "loadbalancer/admin-conf", Target: "cp1", Recorded: state.Pending, Finding: migrate.Finding{
		Verdict: migrate.Needed, Reason: "it names the old address",
		Changes: []migrate.Change{{Object: "cp1:/etc/kubernetes/admin.conf", Before: "server: https://10.0.0.1:6443\n", After: "server: https://10.0.0.5:6443\n"}},
	}}
	if change != nil {
		change(&needed)
	}
	return []run.PhasePlan{{Phase: 1, Name: "loadbalancer", Entries: []migrate.Entry{needed, {
		Phase: 1, Step: "loadbalancer/nginx", Target: "lb1", Recorded: state.Pending, Finding: migrate.Finding{Verdict: migrate.Satisfied, Reason: "nginx is there"},
	}}}}
}
