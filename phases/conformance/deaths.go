package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/simulator"
)

// Death is an instant at which the operator's program died, with all that was
// left: the world and the journal's file.
type Death struct {
	simulator.Point
	Run     string // the name of the run it was in
	Phase   int    // and the number of its phase
	Step    migrate.StepID
	Journal []byte
	At      time.Time
}

// Like says that nothing at all has happened since d: before one operation is
// the same instant as after the one before it, where nothing was journaled
// and no time went by in between.
func (d Death) Like(next Death) bool {
	return d.When == remotetest.After && next.When == remotetest.Before && d.At.Equal(next.At) && bytes.Equal(d.Journal, next.Journal)
}

// Sampled says whether a test run takes a small sample of what it could do: with
// -short, but for CRASH_SAMPLE=large.
func Sampled() bool { return testing.Short() && !large() }

// Long leaves a test out of a small sample: it takes long, and what is like it is
// shown by a shorter one. `make test` runs it.
func Long(t *testing.T) {
	t.Helper()
	if Sampled() {
		t.Skip("long: run with CRASH_SAMPLE=large, or without -short")
	}
}

func large() bool { return os.Getenv("CRASH_SAMPLE") == "large" }

// Share picks what a test run does of a list of instants: all, or with -short a
// sample. CRASH_SAMPLE=large makes that every n-th, else it is every 7n-th: what the
// small sample finds, the large one finds as well. The step is odd where n allows it:
// operations are listed with their two sides in turn, and both are wanted.
func Share(i, n int) bool {
	switch {
	case Sampled():
		return i%(7*n) == 0
	case large() && testing.Short():
		return i%n == 0
	}
	return true
}

// OfEachStep is Share for instants whose steps are known: the small sample has one
// of each step of each run, at another place of the step from one to the next.
func OfEachStep(deaths []Death, n int) map[int]bool {
	type step struct {
		run string
		id  migrate.StepID
	}
	of, order := map[step][]int{}, []step{}
	taken := map[int]bool{}
	for i, d := range deaths {
		s := step{d.Run, d.Step}
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], i)
		taken[i] = !Sampled() && Share(i, n)
	}
	if Sampled() {
		for k, s := range order {
			taken[of[s][k*5%len(of[s])]] = true
		}
	}
	return taken
}

// Label names an operation in a test's name.
func Label(op string, when remotetest.When) string {
	op, _, _ = strings.Cut(op, "\n")
	return map[remotetest.When]string{remotetest.Before: "before ", remotetest.After: "after "}[when] + op[:min(60, len(op))]
}

// Again starts the program again, beside other tests, with what a death has
// left.
func (d Death) Again(t *testing.T, do func(*testing.T, *simulator.World, *Operator)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := d.World.World(t)
		defer w.Close()
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
			t.Fatal(err)
		}
		o := NewOperator(t, w, path)
		defer o.Close()
		do(t, w, o)
	})
}
