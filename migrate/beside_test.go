package migrate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The guard beside a Verify that passes at once counts as the one after the
// step, unless it takes so long that it would be about another moment: a
// member that was just removed may answer nobody for ten seconds.
func TestGuardBesideVerify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		beside func(context.Context) error
		asked  int
		within time.Duration
	}{
		"it holds":  {func(context.Context) error { return nil }, 2, 0},
		"it hangs":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 3, guardFresh},
		"it is not": {func(context.Context) error { return errNotYet }, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			synctest.Test(t, func(t *testing.T) {
				w, asked := newWorld(), 0
				p := phase(step("a", Once))
				p.Guard = func(ctx context.Context, _ view) error {
					if asked++; asked == 2 { // the first is before the phase
						return c.beside(ctx)
					}
					return nil
				}
				began := time.Now()
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

// A Verify that waits is not held up by the guard beside its first attempt.
func TestGuardIsGivenUpWhereVerifyWaits(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		slow := func(s *Step[view, hands]) {
			s.Verify = func(context.Context, view) error {
				if time.Since(began) < pollInterval {
					return errNotYet
				}
				return nil
			}
		}
		p := phase(step("a", Once, slow))
		p.Guard = func(ctx context.Context, _ view) error {
			if asked++; asked == 2 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		if err := runner(newWorld(), j).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if asked != 3 || time.Since(began) != pollInterval {
			t.Errorf("asked %d times in %s", asked, time.Since(began))
		}
	})
}
