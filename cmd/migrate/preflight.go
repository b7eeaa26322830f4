package main

import (
	"context"
	"fmt"
	"io"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/phases/preflight"

	"github.com/urfave/cli/v2"
)

func preflightCommand() *cli.Command {
	return &cli.Command{
		Name:   "preflight",
		Before: noWords,
		Usage:  "look on every host for what is known to stop a phase, or to hurt it",
		Description: "Numbered, named checks on all hosts side by side, each with what was seen, why it matters\n" +
			"and what to do. docs/preflight.md lists them. Nothing of the cluster is changed; two checks\n" +
			"make something for a moment: DiskSync writes and removes 200 KB on each etcd host, Ports\n" +
			"listens on ports that are free, for half a minute at most.\n" +
			"`migrate run` does those that only look before each phase.\n\n" + exitStatus,
		Flags:  append(commonFlags(), phaseFlag(), strategyFlag(), cliflags.Output("text", "json"), ignoreFlag("ignore")),
		Action: looking(preflightAction),
	}
}

// ignoreFlag takes names of checks, as kubeadm's --ignore-preflight-errors.
func ignoreFlag(name string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Usage: "let preflight checks pass that block: `NAME,…`, or all",
		Action: func(_ *cli.Context, names []string) error {
			if err := preflight.Validate(names); err != nil {
				return fmt.Errorf("--%s: %w", name, err)
			}
			return nil
		}}
}

func preflightAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	tellProbeFits(c)
	r, err := preflight.Run(c.Context, s.Access, preflight.Options{
		Phase: c.Int("phase"), Ignore: c.StringSlice("ignore"), Tell: tellHosts(c.App.ErrWriter),
		InPlace: strategyOf(c) == phases.InPlace,
		Plan: func(ctx context.Context, phase int) ([]migrate.Entry, error) {
			return migrate.Plan(ctx, s.Access, migration.Of(s.Spec, strategyOf(c))[phase-1], run.NoRecords{})
		},
	})
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, r)
	} else {
		err = console.PrintPreflight(c.App.Writer, r)
	}
	if err != nil {
		return err
	}
	if blocking := r.Blocking(); len(blocking) > 0 {
		return &run.PreflightError{Blocking: blocking}
	}
	return nil
}

// tellHosts shows on a terminal how many hosts are done.
func tellHosts(w io.Writer) func(done, total int) {
	if !show.IsTerminal(w) {
		return nil
	}
	return func(done, total int) {
		show.Fprintf(w, "%slooked at %d of %d hosts", show.Rewrite, done, total)
		if done == total {
			show.Fprintf(w, "%s", show.Rewrite)
		}
	}
}
