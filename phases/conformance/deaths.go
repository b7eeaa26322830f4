package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases/simulator"
)

// Death is an instant at which the operator's program died, with all that was
// left: the world and the journal's file.
type Death struct {
	simulator.Point
	Run     string // the name of the run it was in
	Phase   int    // and the number of its phase
	Journal []byte
	At      time.Time
}

// Like says that nothing at all has happened since d: before one operation is
// the same instant as after the one before it, where nothing was journaled
// and no time went by in between.
func (d Death) Like(next Death) bool {
	return d.When == remotetest.After && next.When == remotetest.Before && d.At.Equal(next.At) && bytes.Equal(d.Journal, next.Journal)
}

// Share picks what a test run does of a list of instants: all, or with -short a
// sample. CRASH_SAMPLE=large makes that every n-th, else it is about every 3n-th.
// The step is odd where n allows it: operations are listed with their two sides in
// turn, and both are wanted.
func Share(i, n int) bool {
	step := 3 * n
	if step%2 == 0 {
		step++
	}
	switch {
	case !testing.Short():
		return true
	case os.Getenv("CRASH_SAMPLE") == "large":
		step = n
	}
	return i%step == 0
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
