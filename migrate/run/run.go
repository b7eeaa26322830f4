package run

import (
	"context"
	"errors"

	"hamigrate/migrate"
	"hamigrate/migrate/lease"
	"hamigrate/phases"
	"hamigrate/state"
)

// Run runs phases in order with the session's journal, and probes the API from
// before the first change to after the last one. What is done already is left as it
// is, so a run that was stopped goes on.
func Run(ctx context.Context, s *Session, o Options) error {
	return withJournal(ctx, s, o, func(r *run) error {
		kubernetes, err := r.mayBegin(ctx)
		if err != nil {
			return err
		}
		changed, err := toBeDone(ctx, s, r.j, o.List(s.Spec))
		if err != nil {
			return err
		}
		return r.holding(ctx, changed, func() error {
			if err := r.asPlanned(ctx, kubernetes); err != nil {
				return err
			}
			return r.each(ctx, o.List(s.Spec), r.phase)
		})
	})
}

// mayBegin refuses another spec than the one that a phase was begun with, another
// cluster, and one that is not as the spec says. It returns the version that runs.
func (r *run) mayBegin(ctx context.Context) (kubernetes string, err error) {
	if err := r.resumable(); err != nil {
		return "", err
	}
	if err := awaitAPI(ctx, r.s, r.Stop, r.Operator.Say); err != nil {
		return "", err
	}
	id, kubernetes, err := identity(ctx, r.s)
	if err != nil {
		return "", err
	}
	if r.Plan != nil {
		if err := r.Plan.checkCluster(r.PlanFile, id, kubernetes); err != nil {
			return "", err
		}
	}
	if err := describeCluster(ctx, r.s, r.j, id, kubernetes, r.Strategy); err != nil {
		return "", err
	}
	return kubernetes, phases.CheckSpec(ctx, r.s.Access.Reader(migrate.ClusterTarget))
}

// asPlanned says whether this was rehearsed, and refuses what is not as the saved
// plan says.
func (r *run) asPlanned(ctx context.Context, kubernetes string) error {
	if r.Rehearsed != nil {
		r.Operator.Say(r.Rehearsed(kubernetes))
	}
	if r.Plan == nil {
		return nil
	}
	return r.Plan.exactly(ctx, r.PlanFile, r.s, r.j, r.List(r.s.Spec))
}

// run runs phases under one measurement, which begins with the first phase that has
// something to do.
type run struct {
	Options
	s          *Session
	j          *state.Journal
	probe      Probing // nil: not on
	allowsAway bool    // a phase is done in place
	lease      *lease.Lease
	seen       look
	done       map[int]bool // phases that this process has brought to their end, by number
}

// withJournal calls do with the session's journal, for a command that runs phases or
// takes them back. Afterwards the host keys that were accepted meanwhile are kept, and
// it is told how the command ended: by the journal, so before that is closed.
func withJournal(ctx context.Context, s *Session, o Options, do func(*run) error) error {
	end := newEnding(s, o)
	j, err := s.openJournal()
	if err != nil {
		return end.say(ctx, nil, err)
	}
	defer j.Close()
	end.begin(j)
	err = do(&run{Options: o, s: s, j: j})
	err = errors.Join(err, s.keepHostKeys(j))
	return end.say(ctx, j, err)
}

// holding calls do while no other run may have the cluster. It refuses where one of
// the hosts named, which do may change, can only be looked at.
func (r *run) holding(ctx context.Context, hosts []string, do func() error) error {
	if err := MayChange(ctx, r.s, hosts); err != nil {
		return err
	}
	held, err := takeLease(ctx, r.s, r.j, r.Command, r.Operator.Say)
	if err != nil {
		return err
	}
	r.lease = held
	defer held.Release(ctx)
	return do()
}

// each calls do for one phase after the other. What do has begun to measure is ended
// afterwards, also after an error.
func (r *run) each(ctx context.Context, list []phases.Phase, do func(context.Context, phases.Phase) error) (err error) {
	for _, p := range list {
		if err = do(ctx, p); err != nil {
			break
		}
	}
	if after := r.endProbe(ctx); after != nil {
		return &endedError{phases: err, after: after}
	}
	return err
}

// phase checks whether a phase may begin, asks the operator, and runs it.
func (r *run) phase(ctx context.Context, p phases.Phase) error {
	p, err := r.asBegun(p)
	if err != nil {
		return err
	}
	if p, err = r.unblocked(ctx, p); err != nil {
		return err
	}
	if err := r.earlierPhases(ctx, p); err != nil {
		return err
	}
	if err := r.preflight(ctx, p); err != nil {
		return err
	}
	if err := r.Operator.Confirm(ctx, p); err != nil {
		return err
	}
	if err := r.backUp(ctx, p); err != nil {
		return err
	}
	if err := r.measure(ctx, p); err != nil {
		return err
	}
	if err := r.withRunner(ctx, func(runner runner) error { return runner.Run(ctx, p) }); err != nil {
		return err
	}
	if r.done == nil {
		r.done = map[int]bool{}
	}
	r.done[p.Number] = true
	return nil
}

// withRunner calls do with a runner that is stopped by the operator, by another run that
// takes the cluster, or when clients are disturbed.
func (r *run) withRunner(ctx context.Context, do func(runner) error) error {
	w := work{s: r.s, j: r.j, spec: r.s.Spec.Fingerprint, events: []migrate.Events{r.Events}, stop: r.Stop, lease: r.lease}
	if r.probe == nil {
		return w.with(ctx, do)
	}
	stop, done := either(w.stop, r.probe.Disturbed())
	defer done()
	w.stop, w.events = stop, append(w.events, r.probe)
	return r.probe.Explain(w.with(ctx, do))
}
