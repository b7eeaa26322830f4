package run

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/lease"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// runner is the engine over the phases' view of a cluster, and their hands.
type runner = migrate.Runner[phases.Reader, phases.Writer]

// work is what a runner is made of. There is no other way to make one: so all work
// keeps the times of its steps, and stops for the same reasons.
type work struct {
	s      *Session
	j      *state.Journal
	spec   string           // the fingerprint of what is to be carried out
	events []migrate.Events // who hears of the steps, besides the journal
	stop   <-chan struct{}  // closed: stop as soon as nothing is half done
	lease  *lease.Lease     // nil: the cluster can't be held, its API is away
}

// with calls do with a runner. Its error says why it was stopped, where another run
// has taken the cluster.
func (w work) with(ctx context.Context, do func(runner) error) error {
	stop := w.stop
	if w.lease != nil {
		var done func()
		stop, done = either(stop, w.lease.Lost)
		defer done()
	}
	w.s.Access.UseStop(stop)
	defer w.s.Access.UseStop(nil)
	events := append(Listeners{ChangingWith(ctx)}, w.events...)
	return w.lease.Explain(do(runner{
		Env: w.s.Access, Journal: w.j, Spec: w.spec, Log: w.s.Log, Stop: stop,
		Events: append(events, &runrecord.TimingRecorder{Journal: w.j, Log: w.s.Log}),
	}))
}

// either is closed when a or b is.
func either(a, b <-chan struct{}) (stop <-chan struct{}, done func()) {
	out, ended := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-a:
		case <-b:
		case <-ended:
			return
		}
		close(out)
	}()
	return out, func() { close(ended) }
}
