package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

// unlockLook is between two looks at the Lease, unlockWatch how long it must
// not have been renewed while we looked: two renewals and an attempt.
const (
	unlockLook  = 2 * time.Second
	unlockWatch = 2*leaseRenew + leaseTry
)

// unlocking is what unlock needs of the cluster's API.
type unlocking interface {
	Operator(ctx context.Context) (*kube.Operator, error)
	Unlock(ctx context.Context, seen kube.Operator, by string, tell bool) error
}

// LeftBehind shows the lock beside the journal. It is the operating system's
// and ends with its process, so a living one can't be taken away, and what is
// left of a dead one locks nobody out: it is shown and removed.
func LeftBehind(journal string, tell func(string)) error {
	holder, err := state.LeftBehind(journal)
	if err != nil || holder == nil {
		return err
	}
	tell(fmt.Sprintf("%s (process %d) had the journal %s open since %s UTC and was killed; nothing is locked by that",
		holder.Who, holder.PID, journal, holder.Since.UTC().Format(time.DateTime)))
	return nil
}

// Unlock takes the lease away from a run that is not alive, or with force from any, once confirm
// agrees. It watches the lease for up to a minute to tell, and tells what it sees.
func Unlock(ctx context.Context, api unlocking, force bool, confirm func(kube.Operator) error, tell func(string)) error {
	holder, err := api.Operator(ctx)
	if err != nil {
		return err
	}
	switch {
	case holder == nil:
		tell("Nobody migrates this cluster: there is no Lease kube-system/hamigrate. Next: `migrate run`")
		return nil
	case holder.Free():
		tell(fmt.Sprintf("%s has unlocked it already; the next run takes it. Next: `migrate run`", holder.UnlockedBy))
		return nil
	}
	tell(describeHolder(*holder, time.Now()) + ".")
	alive := force
	if !force {
		tell(fmt.Sprintf("Watching whether it is renewed (up to %s) …", show.Seconds(leaseLasts)))
		if alive, err = renewedMeanwhile(ctx, api, holder); err != nil {
			return err
		}
	}
	if alive && !force {
		return fmt.Errorf("%w. It was renewed just now: that run is alive, and nothing was changed. `migrate unlock --force` makes it stop at its next safe point",
			&HeldError{*holder, time.Now()})
	}
	if err := confirm(*holder); err != nil {
		return err
	}
	if err := api.Unlock(context.WithoutCancel(ctx), *holder, state.WhoAmI(), alive); err != nil {
		return err
	}
	if alive {
		tell("Unlocked. Where that run is alive, it sees so within seconds and stops at its next safe point. Next: `migrate status`, then `migrate run`")
	} else {
		tell("Unlocked. Next: `migrate run`")
	}
	return nil
}

// renewedMeanwhile watches a Lease and says whether its holder is alive. Two
// machines' clocks may differ by more than a Lease lasts, so an age alone
// proves nothing: what counts is whether the time of the renewal changes
// while this machine looks, as client-go's leader election does it. A Lease
// that looks old is watched for unlockWatch, any other for as long as it
// lasts. holder becomes what was seen last.
func renewedMeanwhile(ctx context.Context, api unlocking, holder *kube.Operator) (bool, error) {
	began, first := time.Now(), *holder
	watch := max(holder.Lasts, unlockWatch)
	if (&HeldError{first, began}).Stale() {
		watch = unlockWatch
	}
	tick := time.NewTicker(unlockLook)
	defer tick.Stop()
	for time.Since(began) < watch {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
		}
		now, err := api.Operator(ctx)
		switch {
		case err != nil:
			return false, err
		case now == nil:
			return false, errors.New("it has ended just now: `migrate run` can go on")
		case now.Run != first.Run, !now.Renewed.Equal(first.Renewed):
			*holder = *now
			return true, nil
		}
		*holder = *now
	}
	return false, nil
}
