package main

import (
	"hamigrate/cmd/migrate/cliflags"
	"hamigrate/migrate/run"

	"github.com/urfave/cli/v2"
)

func rollbackCommand() *cli.Command {
	return &cli.Command{
		Name:   "rollback",
		Before: noWords,
		Usage:  "roll a phase back: undo what the journal says was changed, newest first",
		Description: "Undoes the steps of a phase, each by its own undo, with the same checks between them\n" +
			"as run has, while the API is probed. What was there before the migration is left alone. From\n" +
			"the middle of a phase as well as from its end; the last phase first. Without --phase it goes\n" +
			"back phase by phase and asks before each. `migrate plan --rollback` shows it beforehand.\n\n" + exitStatus,
		Flags: append(append(commonFlags(), phaseFlag(), strategyFlag(), cliflags.Output("text", "json"),
			waitBackendFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask before each phase"}),
			measuringFlags(2, 0)...),
		Action: rollbackAction,
	}
}

func rollbackAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	o := run.Options{Command: "rollback", Strategy: strategyOf(c), Chosen: c.IsSet("strategy"), Phase: c.Int("phase"), How: howGiven(c)}
	return migrating(c, s, o, nil, run.Rollback)
}
