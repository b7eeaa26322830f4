package main

import (
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:   "backup",
		Before: noWords,
		Usage:  "save a snapshot of etcd and an archive of /etc/kubernetes on this machine, and check them",
		Description: "Writes a folder beside the journal: etcd.db, kubernetes.tar.gz and manifest.json, for their\n" +
			"owner alone. `migrate run` does the same before phases 2 and 3. Every Secret of the cluster is\n" +
			"in it. The private keys of the CAs are not: they never leave their node. `migrate restore`\n" +
			"is what it is for.\n\n" + exitStatus,
		Flags: append(commonFlags(), &cli.BoolFlag{Name: "list", Usage: "only list the backups that are there"}),
		Action: func(c *cli.Context) (err error) {
			s, err := openSession(c)
			if err != nil {
				return err
			}
			defer s.Close()
			if c.Bool("list") {
				return console.PrintBackups(c.App.Writer, s)
			}
			ctx, _, done := stopOnSignals(c.Context, c.App.ErrWriter, "backup")
			defer done()
			defer func() { err = run.InOwnWords(ctx, err) }()
			set, err := run.Backup(ctx, s, teller(c))
			if err != nil {
				return err
			}
			_, err = show.Fprintf(c.App.Writer, "Saved: %s\n", set.Summary())
			return err
		},
	}
}
