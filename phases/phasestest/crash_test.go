package phasestest_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/phasestest"
)

// death is an instant at which the operator's program died, with all that was
// left: the world and the journal's file.
type death struct {
	phasestest.Point
	run     string // the name of the run it was in
	journal []byte
	at      time.Time
}

// like says that nothing at all has happened since d: before one operation is
// the same instant as after the one before it, where nothing was journaled
// and no time went by in between.
func (d death) like(next death) bool {
	return d.When == remotetest.After && next.When == remotetest.Before && d.at.Equal(next.at) && bytes.Equal(d.journal, next.journal)
}

// share picks what a short test run does of a list: every n-th.
func share(i, n int) bool { return !testing.Short() || i%n == 0 }

// TestKilledAtAnyInstantThenRunAgain kills the operator's program before and
// after every change it makes in the three phases, starts it again (at once,
// and here and there half an hour later), and wants the end that an
// uninterrupted run has.
func TestKilledAtAnyInstantThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var deaths []death
	same := 0
	runs := chains(t, func(r run, o *operator) func(phasestest.Point) {
		return func(p phasestest.Point) {
			d := death{Point: p, run: r.name, journal: o.bytes(), at: time.Now()}
			if n := len(deaths); n > 0 && deaths[n-1].like(d) {
				same++
				return
			}
			deaths = append(deaths, d)
		}
	})
	resumed := 0
	t.Run("instants", func(t *testing.T) {
		for _, r := range runs {
			for i, d := range deaths {
				if d.run != r.name || !share(i, 7) {
					continue
				}
				name := fmt.Sprintf("%s %03d %s", r.name, i, label(d.Op, d.When))
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
	t.Logf("%d instants, %d of them different; %d times run again", len(deaths)+same, len(deaths), resumed)
}

// label names an operation in a test's name.
func label(op string, when remotetest.When) string {
	op, _, _ = strings.Cut(op, "\n")
	return map[remotetest.When]string{remotetest.Before: "before ", remotetest.After: "after "}[when] + op[:min(60, len(op))]
}

// again starts the program again, beside other tests, with what a death has
// left.
func (d death) again(t *testing.T, do func(*testing.T, *phasestest.World, *operator)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := d.World.World(t)
		defer w.Close()
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, d.journal, 0o600); err != nil {
			t.Fatal(err)
		}
		o := newOperator(t, w, path)
		defer o.close()
		do(t, w, o)
	})
}

// resume starts the program again with what a death has left.
func resume(t *testing.T, d death, r run, later time.Duration) {
	w := d.World.World(t)
	defer w.Close()
	defer r.unnoticed(t, w)()
	w.Pass(later)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, w, path)
	defer o.close()
	if err := o.run(t.Context(), r.phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	sameEnd(t, w, r)
}

// unnoticed wants that no client notices anything until the function that it
// returns is called, where the phase announces no outage.
func (r run) unnoticed(t *testing.T, w *phasestest.World) func() {
	before := w.Outages()
	return func() {
		t.Helper()
		for _, s := range r.phase.Steps {
			if s.Outage > 0 {
				return
			}
		}
		for from, out := range w.Outages() {
			if out > before[from] {
				t.Errorf("through the %s there was no API for %s", from, out-before[from])
			}
		}
	}
}

// sameEnd wants the end that the run has without a fault.
func sameEnd(t *testing.T, w *phasestest.World, r run) {
	t.Helper()
	w.Pass(lasting)
	if got := w.State(); !maps.Equal(r.end, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(r.end, got))
	}
}

// errFailed is an operation that fails for no reason that the program knows
// how to mend.
var errFailed = errors.New("input/output error")

// TestFailedAnywhereThenRunAgain lets an operation fail, once without and once
// with its effect, lets the program end as it does, and runs it again.
func TestFailedAnywhereThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	runs := chains(t, nil)
	failed := make(chan bool, 1000)
	t.Run("operations", func(t *testing.T) {
		for _, r := range runs {
			for n := range r.ops {
				if n%5 != 0 || !share(n, 25) {
					continue
				}
				when := []remotetest.When{remotetest.Before, remotetest.After}[n/5%2]
				t.Run(fmt.Sprintf("%s %03d %s", r.name, n+1, label(r.ops[n], when)), func(t *testing.T) {
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
func failOnce(t *testing.T, r run, n int, when remotetest.When) bool {
	w := r.start.World(t)
	defer w.Close()
	defer r.unnoticed(t, w)()
	w.Faults.FailAt(n, when, errFailed)
	path := filepath.Join(t.TempDir(), "journal")
	o := newOperator(t, w, path)
	first := o.run(t.Context(), r.phase)
	o.close()
	o = newOperator(t, w, path)
	defer o.close()
	if err := o.run(t.Context(), r.phase); err != nil {
		t.Fatalf("first: %v\nthen: %v\nnever may be: %q", first, err, w.Broken())
	}
	sameEnd(t, w, r)
	return first != nil
}
