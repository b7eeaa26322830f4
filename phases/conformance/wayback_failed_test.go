package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/conformance"
)

// TestFailedOnTheWayBackThenRunAgain lets each change on the way back fail,
// once without and once with its effect. What is then left in place is named,
// and a run with the cause mended ends well.
func TestFailedOnTheWayBackThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	back := takeBack(t)
	t.Run("operations", func(t *testing.T) {
		for n := back.first; n <= back.last; n++ {
			for _, when := range []remotetest.When{remotetest.Before, remotetest.After} {
				if !conformance.Share(n, 4) {
					continue
				}
				t.Run(fmt.Sprintf("%03d %s", n, conformance.Label(back.Ops[n-1], when)), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { failBack(t, back.Run, back.journal, n, when) })
				})
			}
		}
	})
	t.Logf("%d operations of the way back failed", back.last-back.first+1)
}

func failBack(t *testing.T, r conformance.Run, journal []byte, n int, when remotetest.When) {
	w := r.Start.World(t)
	defer w.Close()
	w.Faults.FailAt(n, when, errFailed)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer r.Unnoticed(t, w)()
	first := o.RunPhase(t.Context(), r.Phase)
	o.Close()
	var e *migrate.StepError
	if !errors.As(first, &e) || e.Unwound == nil || len(e.Unwound.Undone)+len(e.Unwound.InPlace) != len(groupSteps()) || (e.Unwound.Err == nil) != (len(e.Unwound.InPlace) == 0) {
		t.Fatalf("first: %v", first)
	}
	if !slices.Equal(w.Faults.Ops()[:n], r.Ops[:n]) {
		t.Fatalf("it did not come to %s (-want +got):\n%s", r.Ops[n-1], cmp.Diff(r.Ops[:n], w.Faults.Ops()[:n]))
	}
	w.Ail(nil, false)
	o = conformance.NewOperator(t, w, path)
	defer o.Close()
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatalf("first: %v\nthen: %v\nnever may be: %q", first, err, w.Broken())
	}
	conformance.SameEnd(t, w, r)
}
