package preflight_test

import (
	"strings"
	"testing"

	"hamigrate/phases/phasestest"
	"hamigrate/phases/preflight"
)

// TestOnlyLook: with a login that may only look, what has to make something is
// told as not looked at, which is neither good nor bad; the rest is seen.
func TestOnlyLook(t *testing.T) {
	t.Parallel()
	r := look(t, preflight.Options{}, func(_ *testing.T, w *phasestest.World) { w.OnlyLook = true })
	unseen := map[string]int{}
	for _, x := range bad(r) {
		if x.Severity != preflight.Warning || !strings.Contains(x.Seen, "not looked at: this login (reader) may only look") || !strings.Contains(x.Remedy, "migrate sudoers --host "+x.Host) {
			t.Errorf("%s on %s: %s: %s; %s", x.Check, x.Host, x.Severity, x.Seen, x.Remedy)
		}
		unseen[x.Check]++
	}
	if unseen["DiskSync"] != 3 || unseen["Ports"] == 0 || unseen["LoadBalancerConfig"] == 0 || len(unseen) != 3 {
		t.Errorf("not looked at are %v", unseen)
	}
	for _, x := range r.Results {
		if x.Severity == preflight.OK && unseen[x.Check] > 0 && x.Check != "Ports" {
			t.Errorf("%s on %s is fine: %s", x.Check, x.Host, x.Seen)
		}
	}
}
