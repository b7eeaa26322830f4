package main

import (
	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func adoptCommand() *cli.Command {
	return &cli.Command{
		Name:   "adopt",
		Before: noWords,
		Usage:  "rebuild a lost journal from the cluster, and say what can't be known any more",
		Description: "Checks every step of every phase and reads the copies that each step left on the first\n" +
			"control-plane node of what was there before it. Changes nothing but the journal, which must\n" +
			"not be there yet, or be without a record. Afterwards run, status and report go on from it, and\n" +
			"rollback undoes what is known. What is not known stands in the last column.\n\n" + exitStatus,
		Flags:  append(commonFlags(), strategyFlag(), cliflags.Output("text", "json")),
		Action: looking(adoptAction),
	}
}

func adoptAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	a, err := run.Adopt(c.Context, s, strategyOf(c))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, a)
	}
	return console.PrintAdoption(c.App.Writer, s, a)
}
