package migrate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The invariants, checked beside Verify counts as the one after the step, unless it, or
// Verify, takes so long that it would be about another moment: a member that
// was just removed may answer nobody for ten seconds, and a checksum of
// gigabytes takes its time. Then it is asked again, and held up by nothing.
func TestGuardBesideVerify(t *testing.T) {
	t.Parallel()
	holds := func(context.Context) error { return nil }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		beside func(context.Context) error
		verify time.Duration // how long Verify does not agree
		asked  int
		within time.Duration
	}{
		"it holds":            {holds, 0, 2, 0},
		"it does not":         {func(context.Context) error { return errNotYet }, 0, 3, 0},
		"it hangs":            {hangs, 0, 3, invariantsFresh},
		"it held long before": {holds, invariantsFresh, 3, invariantsFresh},
		"Verify waits, too":   {hangs, 2 * invariantsFresh, 3, 2 * invariantsFresh},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			synctest.Test(t, func(t *testing.T) {
				w, asked, began := newWorld(), 0, time.Now()
				p := phase(step("a", Once, func(s *Step[reader, writer]) {
					s.Verify = func(context.Context, reader) error {
						if time.Since(began) < c.verify {
							return errNotYet
						}
						return nil
					}
				}))
				p.Invariants = func(ctx context.Context, _ reader) error {
					if asked++; asked == 2 { // the first is before the phase
						return c.beside(ctx)
					}
					return nil
				}
				if err := runner(w, j).Run(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if asked != c.asked || time.Since(began) != c.within {
					t.Errorf("asked %d times in %s, want %d in %s", asked, time.Since(began), c.asked, c.within)
				}
			})
		})
	}
}
