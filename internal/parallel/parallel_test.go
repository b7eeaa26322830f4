package parallel

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		first, second := errors.New("first"), errors.New("second")
		err := Do(
			func() error { time.Sleep(time.Second); return nil },
			func() error { time.Sleep(3 * time.Second); return first },
			func() error { return second })
		if !errors.Is(err, first) || errors.Is(err, second) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("it took %s", d)
		}
	})
	if err := Do(); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}

func TestForEach(t *testing.T) {
	t.Parallel()
	var sum atomic.Int64
	err := Each([]int64{1, 10, 100}, func(i int, n int64) error {
		sum.Add(int64(i) * n)
		return nil
	})
	if err != nil || sum.Load() != 210 {
		t.Errorf("%d, %v", sum.Load(), err)
	}
}
