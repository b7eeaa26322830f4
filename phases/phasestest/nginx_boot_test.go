package phasestest_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/phasestest"
)

const bootLink = "lb2 /etc/systemd/system/multi-user.target.wants/nginx.service"

// TestNginxStartsAtBoot however the run went on: killed at any instant of the
// change on an nginx that was not enabled, run again, it is; and where somebody
// has disabled it since, the step is to be done again.
func TestNginxStartsAtBoot(t *testing.T) {
	var deaths []death
	synctest.Test(t, func(t *testing.T) {
		w := phasestest.New(t)
		defer w.Close()
		if err := w.Root("lb2", "systemctl disable nginx; systemctl stop nginx"); err != nil {
			t.Fatal(err)
		}
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.close()
		w.Watch = func(p phasestest.Point) {
			if strings.HasPrefix(p.Op, "lb2: run ") {
				deaths = append(deaths, death{Point: p, journal: o.bytes(), at: time.Now()})
			}
		}
		if err := o.run(t.Context(), loadbalancer.Phase()); err != nil {
			t.Fatal(err)
		}
		w.Watch = nil
		if err := w.Root("lb2", "systemctl disable nginx"); err != nil {
			t.Fatal(err)
		}
		step := stepOf(loadbalancer.Phase(), "loadbalancer/nginx-stream")
		f, err := step.Check(t.Context(), o.env.View("lb2"))
		if err != nil || f.Verdict != migrate.Needed || !strings.Contains(f.Reason, "does not start at boot") {
			t.Errorf("disabled by somebody, it is %s: %s (%v)", f.Verdict, f.Reason, err)
		}
		if err := step.Verify(t.Context(), o.env.View("lb2")); err == nil || !strings.Contains(err.Error(), "does not start at boot") {
			t.Errorf("verified: %v", err)
		}
	})
	for _, d := range deaths {
		t.Run(label(d.Op, d.When), func(t *testing.T) {
			d.again(t, func(t *testing.T, w *phasestest.World, o *operator) {
				if state := w.State(); strings.Contains(state["lb2 nginx"], "10.88.0.11:6443") && strings.Contains(state["lb2 runs"], "nginx") && state[bootLink] == "" {
					t.Error("nginx serves, and would not come back after a reboot")
				}
				if err := o.run(t.Context(), allPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if w.State()[bootLink] == "" {
					t.Error("nginx does not start at boot")
				}
			})
		})
	}
}
