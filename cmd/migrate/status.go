package main

import (
	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Before: noWords,
		Usage:  "show how far the migration is, by the cluster and by the journal; change nothing",
		Description: "One line a step and host: what the cluster shows now, what the journal says was done and\n" +
			"when. `--offline` leaves the cluster alone and shows the journal.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), cliflags.Output("text", "json"),
			&cli.BoolFlag{Name: "offline", Usage: "show the journal only"}),
		Action: looking(statusAction),
	}
}

func statusAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	list, err := phasesFor(s.Spec, c.Int("phase"), strategyOf(c))
	if err != nil {
		return err
	}
	rows, err := run.Status(c.Context, s, list, c.Bool("offline"))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, rows)
	}
	return console.PrintStatus(c.App.Writer, s, rows, c.Bool("offline"))
}
