package playground

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestLockIsExclusiveAndLeavesNoFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "p")
	var inside, entered atomic.Int32
	err := each(t.Context(), make([]int, 8), 8, func(ctx context.Context, _ int) error {
		unlock, err := lock(ctx, dir, func() {})
		if err != nil {
			return err
		}
		if inside.Add(1) != 1 {
			t.Error("two hold the lock")
		}
		entered.Add(1)
		inside.Add(-1)
		unlock()
		return nil
	})
	if err != nil || entered.Load() != 8 {
		t.Errorf("%d entered: %v", entered.Load(), err)
	}
	if exists(dir) {
		t.Error("the folder is left")
	}
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "p")
	unlock, err := lock(t.Context(), dir, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	waited := 0
	if _, err := lock(ctx, dir, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if waited != 1 {
		t.Errorf("the wait was told %d times", waited)
	}
}
