package main

import (
	"fmt"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/run"

	"github.com/urfave/cli/v2"
)

func renewCommand() *cli.Command {
	return &cli.Command{
		Name:   "renew",
		Before: noWords,
		Usage:  "renew the certificates that nobody else renews, one host after the other",
		Description: "The members' (server and peer) and the one that each API server shows to etcd. kubeadm signs\n" +
			"them on the first control-plane node; the CA's key stays there. Nothing is restarted and no\n" +
			"connection is cut. After each host the new certificate is looked for on the wire, and the\n" +
			"cluster must be well before the next. The previous files stay on their host: --undo puts\n" +
			"them back. After a stop of any kind, renew again: it goes on.\n\n" + exitStatus,
		Flags: append(commonFlags(), cliflags.Output("text", "json"),
			&cli.StringFlag{Name: "within", Value: run.UsualWithin, Usage: "renew what ends within this `TIME`: 30d, 720h",
				Action: func(_ *cli.Context, v string) error {
					if _, err := run.Days(v); err != nil {
						return fmt.Errorf("--within: %w", err)
					}
					return nil
				}},
			&cli.BoolFlag{Name: "plan", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "undo", Usage: "restore the certificates from before the last renewal"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: renewAction,
	}
}

func renewAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "certs renew")
	defer done()
	return run.RenewCertificates(ctx, s, run.RenewOptions{
		Within: c.String("within"), Chosen: c.IsSet("within"), PlanOnly: c.Bool("plan"), Undo: c.Bool("undo"), Stop: stop,
		Events:   func() migrate.Events { events, _ := eventsOf(c, s); return events },
		Operator: renewalHere{c, s.Spec.Name, stop},
	})
}
