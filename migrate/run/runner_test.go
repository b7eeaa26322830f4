package run

import (
	"testing"
	"testing/synctest"
)

// TestEither also holds it to its end: a bubble does not end while one of its
// goroutines waits.
func TestEither(t *testing.T) {
	t.Parallel()
	isClosed := func(c <-chan struct{}) bool {
		synctest.Wait()
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	for name, tt := range map[string]struct {
		close func(a, b chan struct{})
		want  bool
	}{
		"neither": {func(_, _ chan struct{}) {}, false},
		"a":       {func(a, _ chan struct{}) { close(a) }, true},
		"b":       {func(_, b chan struct{}) { close(b) }, true},
		"both":    {func(a, b chan struct{}) { close(a); close(b) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, b := make(chan struct{}), make(chan struct{})
				stop, done := either(a, b)
				if isClosed(stop) {
					t.Error("closed before a and b are")
				}
				tt.close(a, b)
				if isClosed(stop) != tt.want {
					t.Errorf("closed: %t, want %t", !tt.want, tt.want)
				}
				done()
				if isClosed(stop) != tt.want {
					t.Error("done closes it")
				}
			})
		})
	}
	t.Run("closed from the start", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			a := make(chan struct{})
			close(a)
			stop, done := either(a, nil)
			defer done()
			if !isClosed(stop) {
				t.Error("not closed")
			}
		})
	})
}
