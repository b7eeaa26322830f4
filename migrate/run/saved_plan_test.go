package run

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// found is a plan of one phase with two steps: one to be done, one done.
func found(change func(*migrate.Entry)) []PhasePlan {
	needed := migrate.Entry{Phase: 1, Step: "loadbalancer/admin-conf", Target: "cp1", Recorded: state.Pending, Finding: migrate.Finding{
		Verdict: migrate.Needed, Reason: "it names the old address",
		Changes: []migrate.Change{{Object: "cp1:/etc/kubernetes/admin.conf", Before: "server: https://10.0.0.1:6443\n", After: "server: https://10.0.0.5:6443\n"}},
	}}
	if change != nil {
		change(&needed)
	}
	return []PhasePlan{{Phase: 1, Name: "loadbalancer", Entries: []migrate.Entry{needed, {
		Phase: 1, Step: "loadbalancer/nginx", Target: "lb1", Recorded: state.Pending, Finding: migrate.Finding{Verdict: migrate.Satisfied, Reason: "nginx is there"},
	}}}}
}

func TestSavedPlanMatches(t *testing.T) {
	t.Parallel()
	s := &Session{Spec: cluster.Spec{Name: "small", Fingerprint: "sha256:spec"}}
	list := migration.Phases(phases.Overlap)[:1]
	saved := NewSavedPlan(s, "uid-1", "v1.33.1", phases.Overlap, 1, list, found(nil))
	for name, tt := range map[string]struct {
		now   []PhasePlan
		since string // a step on cp1 that we did since
		drift string // "": none
		shown string
	}{
		"nothing has changed":         {now: found(nil)},
		"another reason for the same": {now: found(func(e *migrate.Entry) { e.Finding.Reason = "it still does" })},
		"somebody did it": {now: found(func(e *migrate.Entry) {
			e.Finding = migrate.Finding{Verdict: migrate.Satisfied, Reason: "it names the endpoint"}
		}),
			drift: "loadbalancer/admin-conf on cp1 was needed (it names the old address) and is satisfied now (it names the endpoint)"},
		"we did it, and were stopped": {since: "loadbalancer/admin-conf", now: found(func(e *migrate.Entry) {
			e.Recorded, e.Finding = state.Verified, migrate.Finding{Verdict: migrate.Satisfied, Reason: "it names the endpoint"}
		})},
		"another step of ours was done since, and the text differs by it": {since: "loadbalancer/serving-certificate",
			now: found(func(e *migrate.Entry) { e.Finding.Changes[0].Before = "server: https://10.0.0.9:6443\n" })},
		"another step of ours was done since, and leaves it nothing to do": {since: "loadbalancer/serving-certificate",
			now: found(func(e *migrate.Entry) {
				e.Finding = migrate.Finding{Verdict: migrate.Satisfied, Reason: "it names the endpoint"}
			})},
		"another step of ours was done since, and it is blocked": {since: "loadbalancer/serving-certificate",
			now: found(func(e *migrate.Entry) {
				e.Finding = migrate.Finding{Verdict: migrate.Blocked, Reason: "cp1 has no CA"}
			}), drift: "is blocked now (cp1 has no CA)"},
		"we did it once, long before": {now: found(func(e *migrate.Entry) {
			e.Recorded, e.Finding = state.Verified, migrate.Finding{Verdict: migrate.Satisfied, Reason: "it names the endpoint"}
		}), drift: "is satisfied now (it names the endpoint)"},
		"another text is there": {now: found(func(e *migrate.Entry) { e.Finding.Changes[0].Before = "server: https://10.0.0.9:6443\n" }),
			drift: "would change something else than the plan says", shown: "-server: https://10.0.0.1:6443\n+server: https://10.0.0.9:6443"},
		"it would become something else": {now: found(func(e *migrate.Entry) { e.Finding.Changes[0].After = "server: https://10.0.0.7:6443\n" }),
			drift: "would change something else than the plan says", shown: "-server: https://10.0.0.5:6443\n+server: https://10.0.0.7:6443"},
		"another host": {now: found(func(e *migrate.Entry) { e.Target = "cp9" }), drift: "loadbalancer/admin-conf on cp9 is to be done and is not in the plan"},
		"it is blocked by now": {now: found(func(e *migrate.Entry) { e.Finding = migrate.Finding{Verdict: migrate.Blocked, Reason: "cp1 has no CA"} }),
			drift: "is blocked now (cp1 has no CA)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			since := map[state.Key]bool{}
			if tt.since != "" {
				since[state.Key{Phase: 1, Step: tt.since, Target: "cp1"}] = true
			}
			err := saved.Matches("p.plan", tt.now, since)
			if tt.drift == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var drift *driftError
			if !errors.As(err, &drift) || code(err) != 3 {
				t.Fatalf("got %v with exit code %d", err, code(err))
			}
			if !strings.Contains(err.Error(), tt.drift) || !strings.Contains(err.Error(), tt.shown) {
				t.Errorf("said:\n%v\nwant %q and %q", err, tt.drift, tt.shown)
			}
		})
	}
}

// TestSavedPlanFitsCluster: that it is another one is told by what needs no
// look at any step.
func TestSavedPlanFitsCluster(t *testing.T) {
	t.Parallel()
	saved := SavedPlan{Cluster: "uid-1", KubernetesVersion: "v1.33.1"}
	if err := saved.checkCluster("p", "uid-1", "v1.33.1"); err != nil {
		t.Error(err)
	}
	for want, err := range map[string]error{
		"it is about the cluster uid-1, and this is uid-2":      saved.checkCluster("p", "uid-2", "v1.33.1"),
		"the cluster ran Kubernetes v1.33.1, and runs v1.33.13": saved.checkCluster("p", "uid-1", "v1.33.13"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || code(err) != 3 {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDescribed: a run that was declined before its first phase leaves no
// strategy and no start to the one that does it.
func TestDescribed(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "migrate.journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	check := func(want bool, when string) {
		t.Helper()
		if got, err := described(j); err != nil || got != want {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	check(false, "an empty journal")
	if err := j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: "small"}); err != nil {
		t.Fatal(err)
	}
	check(false, "nothing was begun")
	if err := j.BeginPhase(1, "spec", "steps", nil); err != nil {
		t.Fatal(err)
	}
	check(true, "phase 1 was begun")
}

// TestSavedPlanFits: what can be told without a host is told without one.
func TestSavedPlanFits(t *testing.T) {
	t.Parallel()
	s := &Session{Spec: cluster.Spec{Name: "small", Fingerprint: "sha256:spec"}, File: "migrate.yaml"}
	list := migration.Phases(phases.Overlap)[1:2]
	saved := NewSavedPlan(s, "uid-1", "v1.33.1", phases.Overlap, 2, list, []PhasePlan{{Phase: 2}})
	if err := saved.CheckSpec("p", s, list); err != nil {
		t.Errorf("the plan of a moment ago: %v", err)
	}
	if err := saved.CheckSpec("p", s, migration.Phases(phases.InPlace)[1:2]); err == nil || !strings.Contains(err.Error(), "the steps of phase 2 are those of migrate") {
		t.Errorf("other steps: %v", err)
	}
	changed := &Session{Spec: cluster.Spec{Fingerprint: "sha256:other"}, File: "migrate.yaml"}
	if err := saved.CheckSpec("p", changed, list); err == nil || !strings.Contains(err.Error(), "migrate.yaml means something else") || code(err) != 3 {
		t.Errorf("another spec: %v", err)
	}
}

func TestLimitTo(t *testing.T) {
	t.Parallel()
	only, err := LimitTo(found(nil), []string{"lb1"})
	if err != nil || len(only[0].Entries) != 1 || only[0].Entries[0].Target != "lb1" || Pending(only) != 0 {
		t.Errorf("limited to lb1: %+v, %v", only, err)
	}
	if all, err := LimitTo(found(nil), nil); err != nil || len(all[0].Entries) != 2 {
		t.Errorf("not limited: %+v, %v", all, err)
	}
	if _, err := LimitTo(found(nil), []string{"w9"}); err == nil || !strings.Contains(err.Error(), "--limit w9: no step is on it; there are steps on cp1, lb1") {
		t.Errorf("got %v", err)
	}
}

func TestBackStatus(t *testing.T) {
	t.Parallel()
	stays, undone := migrate.RollbackEntry{Stays: "it harms nobody"}, migrate.RollbackEntry{Step: "loadbalancer/admin-conf"}
	for name, tt := range map[string]struct {
		list []migrate.RollbackEntry
		code int
	}{
		"nothing":             {nil, 0},
		"what stays":          {[]migrate.RollbackEntry{stays}, 0},
		"something to undo":   {[]migrate.RollbackEntry{stays, undone}, 2},
		"what can't be taken": {[]migrate.RollbackEntry{undone, {Blocked: "not known what was there"}}, 3},
	} {
		if got := code(BackStatus(tt.list)); got != tt.code {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.code)
		}
	}
}
