package migrate

import (
	"context"
	"errors"
	"fmt"
)

// maxReconnects is how often one step is taken up again because a connection was
// lost in it. Each time the connection was made again before: a host that
// stays away ends the run at once.
const maxReconnects = 3

// takeUp takes the step; where a connection was lost in it, the step is taken
// up again as the next run would: with a look at what is true now. Every Check
// and Apply is made for that.
func (s *stepRun[V, H]) takeUp(ctx context.Context) (how EventKind, message string, err error) {
	err = s.reconnecting(ctx, func() (err error) {
		how, message, err = s.take(ctx)
		return err
	})
	return how, message, err
}

// reconnecting calls do until it ends otherwise than by a lost connection, but not
// for ever.
func (s *stepRun[V, H]) reconnecting(ctx context.Context, do func() error) error {
	for s.reconnects = maxReconnects; ; s.reconnects-- {
		s.lost = s.losses()
		err := do()
		if !s.cutOff(ctx, err) {
			return err
		}
		s.Log.Info("a connection was lost", "step", s.visit.ID, "node", s.visit.target, "error", err)
		e := s.event(EventStepWaiting, fmt.Sprintf("a connection was lost; checking what was done (%v)", err))
		s.emit(e)
	}
}

// cutOff says whether err comes of a connection that was lost in this attempt,
// and another attempt is to be made. A client of the API or of etcd does not
// always tell that as such, so it is enough that one was lost meanwhile.
func (s *stepRun[V, H]) cutOff(ctx context.Context, err error) bool {
	var step *StepError
	switch {
	case err == nil, ctx.Err() != nil, s.reconnects == 0:
		return false
	case errors.Is(err, ErrStopped), errors.As(err, &step) && (step.Op == OpJournal || step.Op == OpNeeds):
		return false
	}
	var unknown interface{ UnknownOutcome() bool }
	return errors.As(err, &unknown) && unknown.UnknownOutcome() || s.losses() != s.lost
}

func (s *stepRun[V, H]) losses() int {
	if env, ok := s.Env.(LossCounter); ok {
		return env.Lost()
	}
	return 0
}

// leftovers waits for what an earlier run, or an attempt that was cut off, has
// left running on the hosts of the step: a look at a moving world tells
// nothing.
func (s *stepRun[V, H]) leftovers(ctx context.Context) error {
	env, ok := s.Env.(Leftovers)
	if !ok || !s.status().Unfinished() {
		return nil
	}
	return env.AwaitLeftovers(ctx, s.visit.target)
}
