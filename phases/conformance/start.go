package conformance

import (
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"hamigrate/phases"
	"hamigrate/phases/simulator"
)

// start is where tests begin: a usual world in which the first phases are done.
// It is made for the first test that asks and copied for each.
type start struct {
	once    sync.Once
	world   *simulator.Saved
	journal []byte
}

// starts has one for each strategy, and each number of phases that are done.
var starts = sync.OnceValue(func() map[phases.Strategy]*[4]start {
	return map[phases.Strategy]*[4]start{phases.InPlace: new([4]start), phases.Overlap: new([4]start)}
})

// startAt returns the world after so many phases.
func startAt(t *testing.T, done int, strategy phases.Strategy) *start {
	t.Helper()
	s := &starts()[strategy][done]
	s.once.Do(func() {
		synctest.Test(t, func(t *testing.T) {
			w := simulator.New(t)
			defer w.Close()
			o := NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
			defer o.Close()
			for _, p := range AllPhases(strategy)[:done] {
				if err := o.RunPhase(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			if broken := w.Broken(); len(broken) > 0 {
				t.Fatalf("never may be: %q", broken)
			}
			s.world, s.journal = w.Save(), o.JournalFile()
		})
	})
	if s.world == nil {
		t.Fatal("the test that was to make the beginning has failed")
	}
	return s
}
