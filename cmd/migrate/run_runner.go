package main

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// runner is the engine over the phases' view of a cluster, and their hands.
type runner = migrate.Runner[phases.View, phases.Hands]

// work is what a runner is made of. There is no other way to make one: so all work
// keeps the times of its steps, and stops for the same reasons.
type work struct {
	s      *session
	j      *state.Journal
	spec   string           // the fingerprint of what is to be carried out
	events []migrate.Events // who hears of the steps, besides the journal
	stop   <-chan struct{}  // closed: stop as soon as nothing is half done
	lease  *hold            // nil: the cluster can't be held, its API is away
}

// with calls do with a runner. Its error says why it was stopped, where another run
// has taken the cluster.
func (w work) with(ctx context.Context, do func(runner) error) error {
	stop := w.stop
	if w.lease != nil {
		var done func()
		stop, done = either(stop, w.lease.lost)
		defer done()
	}
	w.s.world.UseStop(stop)
	defer w.s.world.UseStop(nil)
	events := append(both{changingWith(ctx)}, w.events...)
	return w.lease.explain(do(runner{
		Env: w.s.world, Journal: w.j, Spec: w.spec, Log: w.s.log, Stop: stop,
		Events: append(events, &runrecord.TimingRecorder{Journal: w.j, Log: w.s.log}),
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
