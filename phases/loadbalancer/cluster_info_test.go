package loadbalancer_test

import (
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/loadbalancer"
)

// TestClusterInfoIsMissing: where the ConfigMap was deleted, nobody learns the
// address from it. Phase 1 is done without, and undone.
func TestClusterInfoIsMissing(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		s.Remove("configmaps", "kube-public", "cluster-info")
		if err := s.Phase(1, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		plan, err := migrate.Plan(s.Context(), s.Env, conformance.AllPhases(phases.Overlap)[0], conformance.NoJournal{})
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range plan {
			if e.Finding.Verdict != migrate.Satisfied {
				s.Errorf("%s on %s: %s", e.Step, e.Target, e.Finding.Reason)
			}
		}
		if err := loadbalancer.VerifyClusterInfo(s.Context(), s.Env.Reader(migrate.ClusterTarget)); err != nil {
			s.Error(err)
		}
		for _, w := range waysBack(s.Operator, s.T) {
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatal(err)
			}
		}
		s.Pass(time.Minute)
	})
}
