package phases

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/internal/parallel"
)

// TestMemo: a question is asked once for all who ask at a time, its failure is
// kept for nobody, and what was true a while ago is asked again.
func TestMemo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memo[int64]
		var asked atomic.Int64
		slow := func(context.Context) (int64, error) {
			time.Sleep(time.Second)
			return asked.Add(1), nil
		}
		err := parallel.Each([]int{1, 2, 3}, func(int, int) error {
			if n, err := m.get(t.Context(), slow); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			return nil
		})
		if err != nil || asked.Load() != 1 {
			t.Errorf("asked %d times, %v", asked.Load(), err)
		}
		time.Sleep(fresh)
		if n, err := m.get(t.Context(), slow); n != 2 || err != nil {
			t.Errorf("later: %d, %v", n, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var m memo[int64]
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hangs := func(ctx context.Context) (int64, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		err := parallel.Do(
			func() error { _, err := m.get(short, hangs); return err },
			func() error {
				time.Sleep(time.Millisecond)
				n, err := m.get(t.Context(), func(context.Context) (int64, error) { return 7, nil })
				if n != 7 || err != nil {
					t.Errorf("who waited for one that failed: %d, %v", n, err)
				}
				return nil
			})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var stuck memo[int64]
		if err := parallel.Do(
			func() error { _, err := stuck.get(t.Context(), slowly); return err },
			func() error {
				time.Sleep(time.Millisecond)
				limited, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := stuck.get(limited, slowly); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("who waits is bounded by who is asked: %v", err)
				}
				return nil
			}); err != nil {
			t.Error(err)
		}
	})
}

func slowly(context.Context) (int64, error) {
	time.Sleep(time.Minute)
	return 1, nil
}
