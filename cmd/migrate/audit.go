package main

import (
	"errors"
	"fmt"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases/audit"

	"github.com/urfave/cli/v2"
)

func auditCommand() *cli.Command {
	return &cli.Command{
		Name:      "audit",
		ArgsUsage: "[[USER@]HOST[:PORT]]",
		Usage:     "find every single point of failure of a cluster, and whether the migration removes it; change nothing",
		Description: "For each: what its loss would do and for how long, which phase removes it, and what would\n" +
			"where none does. One nginx in front is a point that the migration ADDS, and it is told as\n" +
			"such. The end says whether high availability is likely to be worth its price\n" +
			"here. Of use before a migration, after it, and without one. docs/audit.md explains each.\n" +
			"Of Secrets only names and keys are told, never what they hold. Where there is no spec yet,\n" +
			"name a control-plane node: migrate audit root@HOST. Flags stand before HOST.\n\n" + exitStatus,
		Flags:  append(commonFlags(), cliflags.Output("text", "json")),
		Action: looking(auditAction),
	}
}

func auditAction(c *cli.Context) error {
	s, err := auditSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := audit.Run(c.Context, s.Access)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, r)
	}
	return console.PrintAudit(c.App.Writer, r)
}

// auditSession goes by the spec, or by the one host that is named instead.
func auditSession(c *cli.Context) (*run.Session, error) {
	switch word := c.Args().First(); {
	case c.Args().Len() > 1:
		return nil, fmt.Errorf("`migrate audit` takes one host, and there is %q behind it: flags stand before the host, as in `migrate audit -o json root@HOST`", c.Args().Get(1))
	case word != "" && cliflags.String(c, flagFile) != "":
		return nil, fmt.Errorf("`migrate audit` takes a spec or a host, and there are --%s %s and %s: leave one out", flagFile, cliflags.String(c, flagFile), word)
	case word != "":
		return hostSession(c, word)
	}
	return openSession(c)
}

// hostSession is a session on a cluster of which no spec says anything but one
// control-plane node, as [USER@]HOST[:PORT].
func hostSession(c *cli.Context, word string) (*run.Session, error) {
	host, err := cluster.ParseHost(word)
	if err != nil {
		return nil, err
	}
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	ssh := sshOptions(c, log)
	ssh.NoSpec = true
	s := run.WithoutSpec(run.SessionOptions{Tool: version, Log: log, SSH: ssh})
	if err := s.DescribesHost(c.Context, host); err != nil {
		return nil, errors.Join(err, s.Pool.Close())
	}
	return s, nil
}
