package main

import (
	"hamigrate/cmd/migrate/cliflags"
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases/verify"

	"github.com/urfave/cli/v2"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:   "verify",
		Before: noWords,
		Usage:  "look whether a migrated cluster is still what the migration left; change nothing",
		Description: "Numbered, named checks on all hosts side by side, each with what was seen, why it matters\n" +
			"and what to do. docs/verify.md lists them. It needs the spec and no journal, so it may be\n" +
			"run at any time and by anybody, from a timer too: exit status 6 when a check fails.\n\n" + exitStatus,
		Flags:  append(commonFlags(), cliflags.Output("text", "json")),
		Action: looking(verifyAction),
	}
}

func verifyAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := verify.Run(c.Context, s.Access, tellHosts(c.App.ErrWriter))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, r)
	} else {
		err = console.PrintVerify(c.App.Writer, r)
	}
	if err != nil {
		return err
	}
	if bad := r.Bad(); len(bad) > 0 {
		return &run.DegradedError{Bad: bad}
	}
	return nil
}
