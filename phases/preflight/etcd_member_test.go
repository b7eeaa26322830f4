package preflight_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// migrated runs phases 1 and 2.
func migrated(t *testing.T, w *simulator.World) {
	t.Helper()
	j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	env := w.Connect()
	defer env.Close()
	r := migrate.Runner[phases.Reader, phases.Writer]{Env: env, Journal: j, Spec: w.Spec.Fingerprint}
	for _, p := range []phases.Phase{loadbalancer.Phase().For(balancers.Choice(cluster.Spec{})), etcd.Phase().For(phases.InPlace.Choice())} {
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	w.Pass(time.Hour)
}

// TestDataOfMembers: what would keep a new member from its folder is only told
// where the member is there already: a run that goes on must not be stopped by
// a folder that works.
func TestDataOfMembers(t *testing.T) {
	t.Parallel()
	r := look(t, preflight.Options{Phase: 2, LookOnly: true}, func(t *testing.T, w *simulator.World) {
		migrated(t, w)
		w.Mount("e1", "/var/lib/etcd-external", "nfs4", "rw")
		w.Mount("e2", "/var/lib/etcd-external/member", "ext4", "rw")
		w.Mount("e3", "/var/lib/etcd-external", "ext4", "rw")
		w.Hardware("e3", func(h *simulator.Hardware) { h.Free["/var/lib/etcd-external"] = 10 })
	})
	found := map[string]preflight.Severity{}
	for _, x := range of(r, "EtcdData") {
		found[x.Host] = x.Severity
	}
	for _, host := range []string{"e1", "e2", "e3"} {
		if found[host] != preflight.Warning {
			t.Errorf("%s: %q", host, found[host])
		}
	}
}

// TestForcedIsToldOnce: a setting that blocks steps on five hosts is told once,
// by its own check; where that is ignored, by the first of the steps.
func TestForcedIsToldOnce(t *testing.T) {
	t.Parallel()
	arrange := etcdFlag("--force-new-cluster")
	const word = "--force-new-cluster is set"
	told := func(r preflight.Report) []preflight.Result {
		return slices.DeleteFunc(r.Blocking(), func(x preflight.Result) bool { return !strings.Contains(x.Seen, word) })
	}
	alone := told(look(t, preflight.Options{Phase: 2, LookOnly: true}, arrange))
	if len(alone) != 1 {
		t.Fatalf("%+v", alone)
	}
	var entries []migrate.Entry
	for _, host := range []string{"cp1", "e1", "e2", "e3"} {
		entries = append(entries, migrate.Entry{Phase: 2, Step: "etcd/unit", Title: "Step", Target: host, Finding: migrate.Finding{Verdict: migrate.Blocked, Reason: alone[0].Seen, Remedy: alone[0].Remedy}})
	}
	plan := func(_ context.Context, p int) ([]migrate.Entry, error) {
		return map[int][]migrate.Entry{2: entries}[p], nil
	}
	r := look(t, preflight.Options{LookOnly: true, Plan: plan}, arrange)
	if once := told(r); len(once) != 1 || once[0].Check != "EtcdRescueFlags" {
		t.Errorf("%+v", once)
	}
	if list := of(r, "PlannedSteps"); len(list) != 1 || list[0].Severity != preflight.OK || list[0].Host != migrate.ClusterTarget {
		t.Errorf("%+v", list)
	}
	if once := told(look(t, preflight.Options{LookOnly: true, Plan: plan, Ignore: []string{"EtcdRescueFlags"}}, arrange)); len(once) != 1 || once[0].Check != "PlannedSteps" || once[0].Host != "cp1" {
		t.Errorf("ignored: %+v", once)
	}
}
