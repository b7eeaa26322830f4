package main

import (
	"errors"
	"fmt"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/lease"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func unlockCommand() *cli.Command {
	return &cli.Command{
		Name:   "unlock",
		Before: noWords,
		Usage:  "show who migrates the cluster, and remove a lock whose run is dead",
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
	defer s.Close()
	tell := func(text string) { show.Fprintln(c.App.ErrWriter, console.WithFlags(text, s.Given)) }
	if err := lease.LeftBehind(s.Journal, tell); err != nil {
		return err
	}
	api, err := s.Access.Writer(migrate.ClusterTarget).Kube(c.Context)
	if err != nil {
		return err
	}
	confirm := func(holder kube.Operator) error { return nil }
	if !c.Bool("yes") {
		confirm = func(holder kube.Operator) error { return askUnlock(c, s.Spec.Name, holder) }
	}
	return lease.Unlock(c.Context, api, c.Bool("force"), confirm, tell)
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
