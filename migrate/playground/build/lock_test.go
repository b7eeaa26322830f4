package build

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestLockWaitsForItsHolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	free, err := lock(context.Background(), file, func() { t.Error("waited for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	waited := 0
	second, err := lock(context.Background(), file, func() { waited++; free() })
	if err != nil {
		t.Fatal(err)
	}
	if waited != 1 {
		t.Errorf("told %d times that it waits, want once", waited)
	}
	second()
	third, err := lock(context.Background(), file, func() { t.Error("the lock was not given back") })
	if err != nil {
		t.Fatal(err)
	}
	third()
}

func TestGivingUpOnALock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	free, err := lock(context.Background(), file, func() {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := lock(ctx, file, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	free()
	// What gave up takes the lock for a moment at most.
	again, err := lock(context.Background(), file, func() {})
	if err != nil {
		t.Fatal(err)
	}
	again()
}
