package phasestest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
