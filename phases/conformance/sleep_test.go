package conformance_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/phases/conformance"
)

// TestAJoinGoesOnAfterALongSleep: the operator's machine sleeps in the middle
// of a join for longer than what was made for it lives: the bootstrap token
// (20 minutes), the uploaded certificates and their key (two hours) and every
// other token of the cluster (a day). Run again, the join makes all of them
// again.
func TestAJoinGoesOnAfterALongSleep(t *testing.T) {
	runs, all := conformance.Chains(t)
	deaths := slices.DeleteFunc(slices.Clone(all), func(d conformance.Death) bool { return d.Phase != 3 || !duringJoin(d.Op) })
	slept := 0
	for i, d := range deaths {
		after := []time.Duration{3 * time.Hour, 26 * time.Hour}[i%2]
		if !conformance.Share(i, 4) {
			continue
		}
		slept++
		t.Run(conformance.Label(d.Op, d.When)+" for "+after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := d.World.World(t)
				defer w.Close()
				w.Pass(after)
				o := conformance.NewOperator(t, w, t.TempDir()+"/journal")
				defer o.Close()
				if err := o.RunPhase(t.Context(), runs[2].Phase); err != nil {
					t.Fatalf("%v; never may be: %q", err, w.Broken())
				}
				joined := w.State()
				for _, node := range []string{"cp2", "cp3"} {
					if !strings.Contains(joined[node+" runs"], "kube-apiserver") {
						t.Errorf("%s runs %q", node, joined[node+" runs"])
					}
				}
			})
		})
	}
	if slept == 0 {
		t.Error("no instant of a join was seen")
	}
	t.Logf("%d instants of the joins", slept)
}

// duringJoin: what a join consists of, from the upload to kubeadm itself.
func duringJoin(op string) bool {
	for _, part := range []string{"upload-certs", "kubeadm join", "join.yaml", "/joining", "api: POST secrets"} {
		if strings.Contains(op, part) {
			return true
		}
	}
	return false
}
