package preflight_test

import (
	"slices"
	"strings"
	"testing"

	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

// TestOnlyLook: with a login that may only look, what has to make something is
// told as not looked at, which is neither good nor bad; the rest is what root is
// told.
func TestOnlyLook(t *testing.T) {
	t.Parallel()
	seen := func(r preflight.Report) (rest []string, unseen map[string]int) {
		unseen = map[string]int{}
		for _, x := range r.Results {
			trying := x.Check == "Ports" || x.Check == "DiskSync" || x.Check == "LoadBalancerConfig"
			switch {
			case strings.Contains(x.Seen, "may only look"):
				if unseen[x.Check]++; x.Severity != preflight.Warning || !strings.HasPrefix(x.Seen, "not looked at: this login (reader) may only look") || x.Command != "migrate sudoers --host "+x.Host || !strings.HasSuffix(x.Remedy, ": "+x.Command) {
					t.Errorf("%s on %s: %s: %s; %s", x.Check, x.Host, x.Severity, x.Seen, x.Remedy)
				}
			case !trying && x.Severity != preflight.OK: // numbers of what is fine change
				rest = append(rest, x.Check+" on "+x.Host+": "+x.Seen)
			case x.Check == "DiskSync" && len(unseen) > 0:
				t.Errorf("%s on %s is seen: %s", x.Check, x.Host, x.Seen)
			}
		}
		return rest, unseen
	}
	root, none := seen(look(t, preflight.Options{}, nil))
	reader, unseen := seen(look(t, preflight.Options{}, func(_ *testing.T, w *simulator.World) { w.OnlyLook = true }))
	if unseen["DiskSync"] != 3 || unseen["Ports"] == 0 || unseen["LoadBalancerConfig"] == 0 || len(unseen) != 3 || len(none) > 0 {
		t.Errorf("not looked at are %v, by root %v", unseen, none)
	}
	if !slices.Equal(root, reader) {
		t.Errorf("root is told %q, and a login that may only look %q", root, reader)
	}
}
