package main

import (
	"fmt"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/console"
	"hamigrate/migrate/show"
	"hamigrate/phases/certs"

	"github.com/urfave/cli/v2"
)

func certsCommand() *cli.Command {
	return &cli.Command{
		Name:  "certs",
		Usage: "list every certificate of the cluster and the etcd hosts, with its end and who renews it",
		Description: "Public parts only are read. What ends first stands first. Once etcd is on its own hosts,\n" +
			"nobody renews the members' certificates and those that the API servers show them:\n" +
			"`migrate certs renew` does. docs/certificates.md has the rest.\n\n" + exitStatus,
		Flags:       append(commonFlags(), cliflags.Output("text", "json")),
		Subcommands: []*cli.Command{renewCommand()},
		Action: func(c *cli.Context) error {
			if err := noWords(c); err != nil {
				return err
			}
			return looking(certsAction)(c)
		},
	}
}

func certsAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	list, err := certs.Read(c.Context, s.Access)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, list)
	} else {
		err = console.PrintCerts(c.App.Writer, s, list, time.Now())
	}
	if err != nil {
		return err
	}
	if n := len(list.Unread); n > 0 {
		return fmt.Errorf("certs: %d hosts were not read, or not whole, so certificates of theirs are missing above; the first is %s: %s", n, list.Unread[0].Host, list.Unread[0].Why)
	}
	return nil
}
