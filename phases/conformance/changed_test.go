package conformance_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestChangedHosts: no phase changes a host, there or on its way back, of a kind
// that it does not declare. Who prepares the logins goes by the declaration.
func TestChangedHosts(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { changedHosts(t, strategy) })
		})
	}
}

func changedHosts(t *testing.T, strategy phases.Strategy) {
	w := simulator.New(t)
	defer w.Close()
	o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
	defer o.Close()
	var may, hosts []string
	for _, selector := range []migrate.Selector{migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.EtcdHosts, migrate.LoadBalancers, migrate.Workers} {
		names, err := o.Env.Targets(t.Context(), selector)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, names...)
	}
	seen := 0
	w.Watch = func(p simulator.Point) {
		host, op, ok := strings.Cut(p.Op, ": ")
		if !ok || !slices.Contains(hosts, host) {
			return
		}
		if seen++; !slices.Contains(may, host) {
			t.Errorf("%s is changed, and the phase does not declare that: %s", host, op)
			may = append(may, host)
		}
	}
	all := conformance.AllPhases(strategy)
	allowed := func(p phases.Phase) {
		may = nil
		for _, selector := range phases.Changed([]phases.Phase{p}) {
			names, err := o.Env.Targets(t.Context(), selector)
			if err != nil {
				t.Fatal(err)
			}
			may = append(may, names...)
		}
	}
	for _, p := range all {
		allowed(p)
		if err := o.RunPhase(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range slices.Backward(all) {
		allowed(p)
		r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: w.Spec.Fingerprint}
		if err := r.Rollback(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Error("nothing was seen to be changed: the test sees nothing")
	}
}
