package main

import (
	"hamigrate/migrate/run"
	"hamigrate/playbooks"
	"hamigrate/playbooks/forspec"

	"github.com/urfave/cli/v2"
)

func playbookCommand() *cli.Command {
	return &cli.Command{
		Name:   "playbook",
		Before: noWords,
		Usage:  "print a phase as instructions for a person, with this cluster's hosts",
		Description: "Made from the same declaration that run carries out. Needs the spec only, no connection.\n" +
			"Workers that the spec does not name are not listed.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag()),
		Action: func(c *cli.Context) error {
			spec, err := run.ReadSpec(specFile(c))
			if err != nil {
				return err
			}
			list, err := phasesFor(spec, c.Int("phase"), strategyOf(c))
			if err != nil {
				return err
			}
			for _, p := range list {
				if err := playbooks.Render(c.App.Writer, p, forspec.Data(spec)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
