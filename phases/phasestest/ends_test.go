package phasestest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
)

// unnoticed wants that no client notices anything until the function that it
// returns is called, where the phase announces no outage.
func (r run) unnoticed(t *testing.T, w *phasestest.World) func() {
	before := w.Outages()
	return func() {
		t.Helper()
		for _, s := range r.phase.Steps {
			if s.Outage > 0 {
				return
			}
		}
		for from, out := range w.Outages() {
			if out > before[from] {
				t.Errorf("through the %s there was no API for %s", from, out-before[from])
			}
		}
	}
}

// sameEnd wants the end that the run has without a fault.
func sameEnd(t *testing.T, w *phasestest.World, r run) {
	t.Helper()
	w.Pass(lasting)
	if got := w.State(); !maps.Equal(r.end, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(r.end, got))
	}
}

// noticed wants no outage since before.
func noticed(t *testing.T, w *phasestest.World, before map[string]time.Duration) {
	t.Helper()
	for from, out := range w.Outages() {
		if out > before[from] {
			t.Errorf("through the %s there was no API for %s", from, out-before[from])
		}
	}
}

func stepOf(p phases.Phase, id migrate.StepID) phases.Step {
	i := slices.IndexFunc(p.Steps, func(s phases.Step) bool { return s.ID == id })
	return p.Steps[i]
}

// forgotten wants none of the connections known on a node that the API servers
// at these addresses have reset.
func forgotten(s stage, node string, answered ...string) {
	s.T.Helper()
	for _, by := range s.Machine(node).Reset() {
		if slices.Contains(answered, by) {
			s.Errorf("%s still knows a connection that the API server at %s has reset", node, by)
		}
	}
}

// withoutCopies leaves out the copies of a changed file that stay on its host.
func withoutCopies(state map[string]string) map[string]string {
	maps.DeleteFunc(state, func(name, _ string) bool {
		return strings.HasPrefix(name, "cp1 /var/lib/migrate/backup/etcd-repoint-apiserver/") || name == "cp1 /var/lib/migrate/kube-apiserver.last-good.yaml"
	})
	return state
}

func twin(flags map[string]string) bool { return flags["secure-port"] == "6444" }
