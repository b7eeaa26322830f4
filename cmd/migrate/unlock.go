package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/show"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

// unlockLook is between two looks at the Lease, unlockWatch how long it must
// not have been renewed while we looked: two renewals and an attempt.
const (
	unlockLook  = 2 * time.Second
	unlockWatch = 2*leaseRenew + leaseTry
)

func unlockCommand() *cli.Command {
	return &cli.Command{
		Name:   "unlock",
		Before: noWords,
		Usage:  "show who migrates the cluster, and take a lock away that nobody stands behind any more",
		Description: "Shows the lock beside the journal and the Lease in the cluster. The Lease is watched for up\n" +
			"to a minute: one that is renewed meanwhile is of a run that is alive, and is left alone. One\n" +
			"that is not is taken away, after the cluster's name was typed. With --force a living one, too:\n" +
			"that run stops at its next safe point.\n\n" + exitStatus,
		Flags: append(commonFlags(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "force", Usage: "take it away from a run that is alive, too"}),
		Action: looking(unlockAction),
	}
}

func unlockAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	tell := func(text string) { show.Fprintln(c.App.ErrWriter, withFlags(text, s.given)) }
	if err := unlockLocal(s, tell); err != nil {
		return err
	}
	api, err := s.world.Hands(migrate.ClusterTarget).Kube(c.Context)
	if err != nil {
		return err
	}
	confirm := func(holder kube.Operator) error { return nil }
	if !c.Bool("yes") {
		confirm = func(holder kube.Operator) error { return askUnlock(c, s.spec.Name, holder) }
	}
	return unlockCluster(c.Context, api, c.Bool("force"), confirm, tell)
}

// unlockLocal shows the lock beside the journal. It is the operating system's
// and ends with its process, so a living one can't be taken away, and what is
// left of a dead one locks nobody out: it is shown and removed.
func unlockLocal(s *session, tell func(string)) error {
	holder, err := state.LeftBehind(s.journal)
	if err != nil || holder == nil {
		return err
	}
	tell(fmt.Sprintf("%s (process %d) had the journal %s open since %s UTC and was killed; nothing is locked by that",
		holder.Who, holder.PID, s.journal, holder.Since.UTC().Format(time.DateTime)))
	return nil
}

// unlocking is what unlock needs of the cluster's API.
type unlocking interface {
	Operator(ctx context.Context) (*kube.Operator, error)
	Unlock(ctx context.Context, seen kube.Operator, by string, tell bool) error
}

func unlockCluster(ctx context.Context, api unlocking, force bool, confirm func(kube.Operator) error, tell func(string)) error {
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
			&heldError{*holder, time.Now()})
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
	if (&heldError{first, began}).Stale() {
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

// askUnlock wants the cluster's name typed.
func askUnlock(c *cli.Context, name string, holder kube.Operator) error {
	if noTerminal(c) {
		return errors.New("there is no terminal to ask on: add --yes to take the cluster over")
	}
	answer, err := question(c.Context, c, nil, "Type the cluster's name (%s) to take it away from %s: ", name, holder.Who)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("that is not %q: nothing was changed", name)
	}
	return nil
}
