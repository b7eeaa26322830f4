package conformance_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestCutAnywhereGoesOn cuts the connection before and after every change that
// the operator's program makes in the three phases. It can be made again, so
// the one run must come to the end that a run without a fault has; a command
// that may not run twice has run once.
func TestCutAnywhereGoesOn(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	runs, _ := conformance.Chains(t)
	cuts := 0
	t.Run("operations", func(t *testing.T) {
		for _, r := range runs {
			for n := range r.Ops {
				for _, when := range []remotetest.When{remotetest.Before, remotetest.After} {
					if !conformance.Share(n+int(when), 25) {
						continue
					}
					cuts++
					t.Run(fmt.Sprintf("%s %03d %s", r.Name, n+1, conformance.Label(r.Ops[n], when)), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { cutOnce(t, r, n+1, when) })
					})
				}
			}
		}
	})
	t.Logf("%d times a connection was cut, and no run ended by it", cuts)
}

func cutOnce(t *testing.T, r conformance.Run, n int, when remotetest.When) {
	w := r.Start.World(t)
	defer w.Close()
	defer r.Unnoticed(t, w)()
	w.Faults.FailAt(n, when, remotetest.ErrCut)
	o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
	defer o.Close()
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	if w.Lost() != 1 {
		t.Fatalf("%d connections were cut", w.Lost())
	}
	if op := r.Ops[n-1]; detachedOp(op) {
		ran := func(ops []string) int {
			return len(slices.DeleteFunc(slices.Clone(ops), func(o string) bool { return o != op }))
		}
		if got, want := ran(w.Faults.Ops()), ran(r.Ops); got != want {
			t.Errorf("%s: ran %d times instead of %d", op, got, want)
		}
	}
	conformance.SameEnd(t, w, r)
}

// detachedOp says whether an operation is a command that runs detached, or a
// part of it.
func detachedOp(op string) bool {
	for _, part := range []string{"run kubeadm join", "kubeadm join, phase", "run kubeadm init phase upload-certs", "run kubeadm reset", "apt-get install"} {
		if strings.Contains(op, part) {
			return true
		}
	}
	return false
}

// TestKilledWhileKubeadmGoesOn ends the operator's program in the middle of a
// detached kubeadm join, which goes on. The next run waits for it before it
// looks, and joins the node once.
func TestKilledWhileKubeadmGoesOn(t *testing.T) {
	runs, _ := conformance.Chains(t)
	for _, part := range []string{"preflight", "certs", "kubelet-start", "wait-control-plane"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := runs[2]
				w := r.Start.World(t)
				defer w.Close()
				path := filepath.Join(t.TempDir(), "journal")
				o := conformance.NewOperator(t, w, path)
				ctx, kill := context.WithCancel(t.Context())
				w.Watch = func(p simulator.Point) {
					if strings.HasSuffix(p.Op, "kubeadm join, phase "+part) {
						kill()
					}
				}
				if err := o.RunPhase(ctx, r.Phase); err == nil {
					t.Fatal("it was not killed")
				}
				o.Close()
				o = conformance.NewOperator(t, w, path)
				defer o.Close()
				began := time.Now()
				if err := o.RunPhase(t.Context(), r.Phase); err != nil {
					t.Fatalf("%v after %s; never may be: %q", err, time.Since(began), w.Broken())
				}
				joins := 0
				for _, op := range w.Faults.Ops() {
					if strings.HasSuffix(op, "run kubeadm join --config /var/lib/migrate/join.yaml") {
						joins++
					}
				}
				if joins != 2 { // two nodes
					t.Errorf("kubeadm join ran %d times", joins)
				}
				conformance.SameEnd(t, w, r)
			})
		})
	}
}
