package phases

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
)

var _ migrate.Waiter = (*Access)(nil)

// waitingTime is the time that others' programs took, and who hears what is waited for.
type waitingTime struct {
	nanoseconds atomic.Int64

	mu   sync.Mutex
	said func(error) // see OnWait
}

// Waited is how long programs of others have run for this Access so far:
// kubeadm, systemd and what it starts, nginx, HAProxy, the package managers, and etcd
// where it changes its members.
// Commands that ran side by side are each counted in full.
func (w *Access) Waited() time.Duration { return time.Duration(w.waiting.nanoseconds.Load()) }

// Waiting begins a wait for somebody else's program, such as a member that
// has to catch up, and returns what ends it. Run and Look of a host do it by
// themselves for the commands they know.
func (w *Access) Waiting() (done func()) {
	began := time.Now()
	return func() { w.waiting.nanoseconds.Add(int64(time.Since(began))) }
}

// OnWait makes said hear what a wait last got as an answer, each time that it
// is not the end of the wait; nil takes it back.
func (w *Access) OnWait(said func(error)) {
	w.waiting.mu.Lock()
	defer w.waiting.mu.Unlock()
	w.waiting.said = said
}

// StillWaits says what a wait is for, to who listens.
func (w *Access) StillWaits(answer error) {
	w.waiting.mu.Lock()
	defer w.waiting.mu.Unlock()
	if w.waiting.said != nil {
		w.waiting.said(answer)
	}
}

// timed runs a command of a host and counts its time where it runs a program of
// others.
func (l lazyHost) timed(ctx context.Context, c remote.Command, run func(context.Context, remote.Command) (string, error)) (string, error) {
	if c.Waits {
		defer l.world.Waiting()()
	}
	return run(ctx, c)
}
