// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/conformance"
)

// TestKilledAtAnyInstantThenRunAgain kills the operator's program before and
// after every change it makes in the three phases, starts it again (at once,
// and here and there half an hour later), and wants the end that an
// uninterrupted run has.
func TestKilledAtAnyInstantThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	runs, all := conformance.Chains(t)
	var deaths []conformance.Death
	for _, d := range all {
		if n := len(deaths); n == 0 || !deaths[n-1].Like(d) {
			deaths = append(deaths, d)
		}
	}
	resumed, taken := 0, conformance.OfEachStep(deaths, 7)
	t.Run("instants", func(t *testing.T) {
		for _, r := range runs {
			for i, d := range deaths {
				if d.Run != r.Name || !taken[i] {
					continue
				}
				name := fmt.Sprintf("%s %03d %s", r.Name, i, conformance.Label(d.Op, d.When))
				resumed++
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { resume(t, d, r, 0) })
				})
				if i%5 != 0 {
					continue
				}
				resumed++
				t.Run(name+" late", func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { resume(t, d, r, 30*time.Minute) })
				})
			}
		}
	})
	t.Logf("%d instants, %d of them different; %d times run again", len(all), len(deaths), resumed)
}

// resume starts the program again with what a death has left.
func resume(t *testing.T, d conformance.Death, r conformance.Run, later time.Duration) {
	w := d.World.World(t)
	defer w.Close()
	defer r.Unnoticed(t, w)()
	w.Pass(later)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	conformance.SameEnd(t, w, r)
}

// errFailed is an operation that fails for no reason that the program knows
// how to mend.
var errFailed = errors.New("input/output error")

// TestFailedAnywhereThenRunAgain lets an operation fail, once without and once
// with its effect, lets the program end as it does, and runs it again.
func TestFailedAnywhereThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	runs, _ := conformance.Chains(t)
	failed := make(chan bool, 1000)
	t.Run("operations", func(t *testing.T) {
		for _, r := range runs {
			for n := range r.Ops {
				if n%5 != 0 || !conformance.Share(n/5, 5) {
					continue
				}
				when := []remotetest.When{remotetest.Before, remotetest.After}[n/5%2]
				t.Run(fmt.Sprintf("%s %03d %s", r.Name, n+1, conformance.Label(r.Ops[n], when)), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { failed <- failOnce(t, r, n+1, when) })
				})
			}
		}
	})
	close(failed)
	all, ended := 0, 0
	for f := range failed {
		all++
		if f {
			ended++
		}
	}
	t.Logf("%d operations failed; %d runs ended by it, the others asked again", all, ended)
}

// failOnce says whether the first run ended with an error.
func failOnce(t *testing.T, r conformance.Run, n int, when remotetest.When) bool {
	w := r.Start.World(t)
	defer w.Close()
	defer r.Unnoticed(t, w)()
	w.Faults.FailAt(n, when, errFailed)
	path := filepath.Join(t.TempDir(), "journal")
	o := conformance.NewOperator(t, w, path)
	first := o.RunPhase(t.Context(), r.Phase)
	o.Close()
	o = conformance.NewOperator(t, w, path)
	defer o.Close()
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatalf("first: %v\nthen: %v\nnever may be: %q", first, err, w.Broken())
	}
	conformance.SameEnd(t, w, r)
	return first != nil
}
