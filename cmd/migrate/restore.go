package main

import (
	"hamigrate/cmd/migrate/cliflags"
	"hamigrate/migrate"
	"hamigrate/migrate/backup"
	"hamigrate/migrate/run"
	"hamigrate/phases/restore"

	"github.com/urfave/cli/v2"
)

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name:   "restore",
		Before: noWords,
		Usage:  "disaster recovery: rebuild etcd's lost members from a snapshot",
		Description: "For etcd on hosts of its own whose data, or quorum, is lost for good. Every write since the\n" +
			"snapshot is lost with it; `migrate rollback` loses none; use it to go back. Stops all API\n" +
			"servers, sets aside what is left, restores all members from one snapshot, and restarts what\n" +
			"remembers what is no more. Where a quorum answers it is refused. After a stop of any kind,\n" +
			"restore again: it goes on. docs/restore.md says what is lost, and how by hand.\n\n" + exitStatus,
		Flags: append(commonFlags(), cliflags.Output("text", "json"),
			&cli.StringFlag{Name: "from", Usage: "the backup's `FOLDER` (default: the newest one beside the journal)"},
			&cli.BoolFlag{Name: "plan", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: restoreAction,
	}
}

// restoreMemberCommand is what a restore runs on an etcd host. It is not for
// people.
func restoreMemberCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "owner"}}
	for _, name := range []string{"snapshot", "data-dir", "name", "peer-url", "initial-cluster", "token"} {
		flags = append(flags, &cli.StringFlag{Name: name, Required: true})
	}
	return &cli.Command{
		Name: restore.MemberCommand, Hidden: true, Before: noWords,
		Usage: "restore one etcd member on its host; started by restore",
		Flags: flags,
		Action: func(c *cli.Context) error {
			return backup.Member{
				Snapshot: c.String("snapshot"), DataDir: c.String("data-dir"), Owner: c.String("owner"), Name: c.String("name"),
				PeerURL: c.String("peer-url"), InitialCluster: c.String("initial-cluster"), Token: c.String("token"),
			}.Restore()
		},
	}
}

func restoreAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "restore")
	defer done()
	return run.Restore(ctx, s, run.RestoreOptions{
		From: c.String("from"), PlanOnly: c.Bool("plan"), Stop: stop,
		Events:   func() migrate.Events { events, _ := eventsOf(c, s); return events },
		Operator: restoreHere{c, s.Spec.Name, stop},
	})
}
