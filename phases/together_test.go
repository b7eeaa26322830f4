package phases_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

// TestTogether: each of a hundred who ask gets its own answer in its time, though
// the first look ends with the time of the one who did it.
func TestTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := phases.NewAccess(cluster.Spec{}, nil)
		looks := 0
		look := func(ctx context.Context, targets []string) ([]error, error) {
			looks++
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
			each := make([]error, len(targets))
			for i, target := range targets {
				each[i] = errors.New(target)
			}
			return each, nil
		}
		ask := func(n int, limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			return w.Reader(fmt.Sprint("n", n)).Together(ctx, look)
		}
		hasty := make(chan error, 1)
		go func() { hasty <- ask(0, 3*time.Second) }()
		synctest.Wait()
		_ = parallel.Each(make([]struct{}, 100), func(i int, _ struct{}) error {
			limit := 30 * time.Second
			if i == 50 {
				limit = time.Second
			}
			err := ask(i+1, limit)
			if i == 50 && !errors.Is(err, phases.ErrNotLooked) || i != 50 && (err == nil || err.Error() != fmt.Sprint("n", i+1)) {
				t.Errorf("%d got %v", i+1, err)
			}
			return nil
		})
		if err := <-hasty; !errors.Is(err, phases.ErrNotLooked) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first got %v", err)
		}
		if looks != 2 {
			t.Errorf("%d looks", looks)
		}
		release, err := w.Reader("").Alone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(1, time.Minute); !errors.Is(err, phases.ErrNotLooked) {
			t.Errorf("beside one who is alone: %v", err)
		}
		release()
		if err := ask(1, time.Minute); err == nil || err.Error() != "n1" || looks != 3 {
			t.Errorf("%d looks, the last found %v", looks, err)
		}
	})
}
