package loadbalancer_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

const bootLink = "lb2 /etc/systemd/system/multi-user.target.wants/nginx.service"

// TestNginxStartsAtBoot however the run went on: killed at any instant of the
// change on an nginx that was not enabled, run again, it is; and where somebody
// has disabled it since, the step is to be done again.
func TestNginxStartsAtBoot(t *testing.T) {
	var deaths []conformance.Death
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		if err := w.Root("lb2", "systemctl disable nginx; systemctl stop nginx"); err != nil {
			t.Fatal(err)
		}
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		w.Watch = func(p simulator.Point) {
			if strings.HasPrefix(p.Op, "lb2: run ") {
				deaths = append(deaths, conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()})
			}
		}
		if err := o.RunPhase(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		w.Watch = nil
		if err := w.Root("lb2", "systemctl disable nginx"); err != nil {
			t.Fatal(err)
		}
		step := conformance.StepOf(conformance.AllPhases(phases.Overlap)[0], "loadbalancer/nginx-stream")
		f, err := step.Check(t.Context(), o.Env.Reader("lb2"))
		if err != nil || f.Verdict != migrate.Needed || !strings.Contains(f.Reason, "does not start at boot") {
			t.Errorf("disabled by somebody, it is %s: %s (%v)", f.Verdict, f.Reason, err)
		}
		if err := step.Verify(t.Context(), o.Env.Reader("lb2")); err == nil || !strings.Contains(err.Error(), "does not start at boot") {
			t.Errorf("verified: %v", err)
		}
	})
	for _, d := range deaths {
		t.Run(conformance.Label(d.Op, d.When), func(t *testing.T) {
			d.Again(t, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
				if state := w.State(); strings.Contains(state["lb2 nginx"], "10.88.0.11:6443") && strings.Contains(state["lb2 runs"], "nginx") && state[bootLink] == "" {
					t.Error("nginx serves, and would not come back after a reboot")
				}
				if err := o.RunPhase(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if w.State()[bootLink] == "" {
					t.Error("nginx does not start at boot")
				}
			})
		})
	}
}
