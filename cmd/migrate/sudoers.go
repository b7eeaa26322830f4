package main

import (
	"fmt"
	"io"
	"strings"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/rights"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/sudoers"
	"hamigrate/phases"
	"hamigrate/phases/migration"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

func sudoersCommand() *cli.Command {
	return &cli.Command{
		Name:      "sudoers",
		ArgsUsage: "[USER@HOST]",
		Usage:     "print the sudoers file that each host needs: what looks use, and what changes need",
		Description: "For a login user who is not root. On a host that is only looked at the file allows to read\n" +
			"every file, and a few programs with the arguments that looks use; nothing there can be\n" +
			"changed with it. A host that a phase changes needs all of root's rights, and the file says\n" +
			"why. --read-only prints what init, preflight, audit, plan, status, verify, certs and backup need.\n" +
			"Needs the spec only, no connection; workers that the spec does not name are not printed.\n" +
			"Where there is no spec yet: migrate sudoers USER@HOST. To install one:\n" +
			"  " + strings.ReplaceAll(rights.Allow("migrate sudoers --host cp1 --read-only", "ssh root@192.0.2.11"), " | ", " |\n    ") + "\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), cliflags.Output("text", "json"),
			&cli.StringFlag{Name: "host", Usage: "only the file of host `NAME`"},
			&cli.BoolFlag{Name: "read-only", Usage: "only what looks need, on every host"}),
		Action: sudoersAction,
	}
}

func sudoersAction(c *cli.Context) error {
	s, hosts, err := sudoersHosts(c)
	if err != nil {
		return err
	}
	defer s.Close()
	list, err := sudoers.Files(hosts, s.Pool.Login, c.String("host"))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, list)
	}
	for i, f := range list {
		if i > 0 {
			f.File = "\n" + f.File
		}
		if _, err := io.WriteString(c.App.Writer, f.File); err != nil {
			return err
		}
	}
	return nil
}

func sudoersHosts(c *cli.Context) (*run.Session, []sudoers.Host, error) {
	if word := c.Args().First(); word != "" {
		if c.Args().Len() > 1 || cliflags.String(c, flagFile) != "" || c.IsSet("phase") || c.IsSet("host") {
			return nil, nil, fmt.Errorf("`migrate sudoers %s` is for one host without a spec: leave the rest out; flags stand before the host", word)
		}
		h, err := cluster.ParseHost(word)
		if err != nil {
			return nil, nil, err
		}
		log := hclog.NewNullLogger()
		return run.WithoutSpec(run.SessionOptions{Tool: version, Log: log, SSH: sshOptions(c, log)}), []sudoers.Host{{Host: h, Role: rights.First}}, nil
	}
	s, err := readSession(c)
	if err != nil {
		return nil, nil, err
	}
	var changed []migrate.Selector
	if !c.Bool("read-only") {
		list := migration.Declared() // whatever is chosen when it is run
		if n := c.Int("phase"); n != 0 {
			list = list[n-1 : n]
		}
		changed = phases.Changed(list)
	}
	return s, sudoers.HostsOf(s.Spec, changed), nil
}
