package phasestest_test

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
)

// TestFailedOnTheWayBackThenRunAgain lets each change on the way back fail,
// once without and once with its effect. What is then left in place is named,
// and a run with the cause mended ends well.
func TestFailedOnTheWayBackThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	back, journal := takeBack(t)
	if t.Failed() {
		return
	}
	t.Run("operations", func(t *testing.T) {
		for n := back.first; n <= back.last; n++ {
			for _, when := range []remotetest.When{remotetest.Before, remotetest.After} {
				if !share(n, 4) {
					continue
				}
				t.Run(fmt.Sprintf("%03d %s", n, label(back.ops[n-1], when)), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { failBack(t, back.run, journal, n, when) })
				})
			}
		}
	})
	t.Logf("%d operations of the way back failed", back.last-back.first+1)
}

func failBack(t *testing.T, r run, journal []byte, n int, when remotetest.When) {
	w := r.start.World(t)
	defer w.Close()
	w.Faults.FailAt(n, when, errFailed)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, w, path)
	defer r.unnoticed(t, w)()
	first := o.run(t.Context(), r.phase)
	o.close()
	var e *migrate.StepError
	if !errors.As(first, &e) || e.Back == nil || len(e.Back.Back)+len(e.Back.Left) != len(bracketSteps()) || (e.Back.Err == nil) != (len(e.Back.Left) == 0) {
		t.Fatalf("first: %v", first)
	}
	if !slices.Equal(w.Faults.Ops()[:n], r.ops[:n]) {
		t.Fatalf("it did not come to %s (-want +got):\n%s", r.ops[n-1], cmp.Diff(r.ops[:n], w.Faults.Ops()[:n]))
	}
	w.Ail(nil, false)
	o = newOperator(t, w, path)
	defer o.close()
	if err := o.run(t.Context(), r.phase); err != nil {
		t.Fatalf("first: %v\nthen: %v\nnever may be: %q", first, err, w.Broken())
	}
	sameEnd(t, w, r)
}
