package conformance

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/simulator"
)

// Unnoticed wants that no client notices anything until the function that it
// returns is called, where the phase announces no outage.
func (r Run) Unnoticed(t *testing.T, w *simulator.World) func() {
	before := w.Outages()
	return func() {
		t.Helper()
		for _, s := range r.Phase.Steps {
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

// SameEnd wants the end that the run has without a fault.
func SameEnd(t *testing.T, w *simulator.World, r Run) {
	t.Helper()
	w.Pass(Lasting)
	if got := w.State(); !maps.Equal(r.End, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(r.End, got))
	}
}

// Noticed wants no outage since before.
func Noticed(t *testing.T, w *simulator.World, before map[string]time.Duration) {
	t.Helper()
	for from, out := range w.Outages() {
		if out > before[from] {
			t.Errorf("through the %s there was no API for %s", from, out-before[from])
		}
	}
}

// StepOf is the step of a phase with that ID.
func StepOf(p phases.Phase, id migrate.StepID) phases.Step {
	i := slices.IndexFunc(p.Steps, func(s phases.Step) bool { return s.ID == id })
	return p.Steps[i]
}

// Forgotten wants none of the connections known on a node that the API servers
// at these addresses have reset.
func Forgotten(s Stage, node string, answered ...string) {
	s.T.Helper()
	for _, by := range s.Machine(node).Reset() {
		if slices.Contains(answered, by) {
			s.Errorf("%s still knows a connection that the API server at %s has reset", node, by)
		}
	}
}

// WithoutCopies leaves out the copies of a changed file that stay on its host.
func WithoutCopies(state map[string]string) map[string]string {
	maps.DeleteFunc(state, func(name, _ string) bool {
		return strings.HasPrefix(name, "cp1 /var/lib/migrate/backup/etcd-repoint-apiserver/") || name == "cp1 /var/lib/migrate/kube-apiserver.last-good.yaml"
	})
	return state
}

// IsTemporary says whether these are flags of the API server that serves while
// the real one restarts.
func IsTemporary(flags map[string]string) bool { return flags["secure-port"] == "6444" }
