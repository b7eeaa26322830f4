package run

import (
	"context"
	"fmt"

	"hamigrate/phases"
)

// measure starts the measurement, unless it is on, is not wanted or p has
// nothing to do. Where a phase is half done, one that can't be started is no
// reason to leave it there.
func (r *run) measure(ctx context.Context, p phases.Phase) error {
	if r.probe != nil || r.Prober == nil {
		return nil
	}
	known, err := r.j.Phase(p.Number)
	if err != nil {
		return err
	}
	if nothing, err := r.nothingToDo(ctx, p); err != nil || nothing {
		return err
	}
	return r.startProbe(ctx, ProbeOptions{Resumed: !known.Begun.IsZero() && known.Completed.IsZero()})
}

// measureAnyway starts the measurement of a rollback.
func (r *run) measureAnyway(ctx context.Context) error {
	if r.probe != nil || r.Prober == nil {
		return nil
	}
	return r.startProbe(ctx, ProbeOptions{Resumed: true, Back: true})
}

func (r *run) startProbe(ctx context.Context, o ProbeOptions) error {
	BeginsToChange(ctx) // it makes pods
	o.InPlace, o.Stop = r.allowsAway, r.Stop
	p, err := r.Prober.Start(ctx, r.s, r.j, o)
	switch {
	case err == nil:
		r.probe = p
	case o.Resumed:
		r.Operator.Say(fmt.Sprintf("going on without measuring what clients see: %v", err))
		r.Prober = nil
	default:
		return fmt.Errorf("measuring what clients see (--probe-rate 0 skips it): %w", err)
	}
	return nil
}

// allowAway is for a phase that is done in place. The measurement may be on since an
// earlier one, which was not.
func (r *run) allowAway() {
	r.allowsAway = true
	if r.probe != nil {
		r.probe.AllowAway()
	}
}

// collect takes up the measurement of a run that was interrupted after its
// last change: nothing is left to do, and its pods still probe.
func (r *run) collect(ctx context.Context) error {
	if r.Prober == nil {
		return nil
	}
	if left, err := r.Prober.Left(r.j); err != nil || !left || ctx.Err() != nil {
		return err
	}
	BeginsToChange(ctx) // it makes pods where they are gone, and removes them
	p, err := r.Prober.Start(ctx, r.s, r.j, ProbeOptions{Resumed: true, InPlace: r.allowsAway, Stop: r.Stop})
	if err != nil {
		return fmt.Errorf("removing the probe's pods that an interrupted run left: %w", err)
	}
	r.probe = p
	return nil
}

// endProbe ends the measurement and says what it found.
func (r *run) endProbe(ctx context.Context) error {
	if r.probe == nil {
		if err := r.collect(ctx); err != nil || r.probe == nil {
			return err
		}
	}
	result, err := r.probe.End(ctx)
	if result != nil && ctx.Err() == nil {
		r.Operator.Say(fmt.Sprintf("%d of %d requests of the API's clients failed, the longest gap was %.1f s; migrate report has the rest",
			result.Failures(), result.Requests(), result.LongestGap().Seconds()))
	}
	return err
}
