package main

import (
	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/console"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/show"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

// flagAcceptKeys makes the first contact with hosts without comparing their
// fingerprints. It is never a default, and what it did is in the report.
const flagAcceptKeys = "accept-new-host-keys"

func acceptKeysFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagAcceptKeys, Usage: "trust hosts that known_hosts says nothing about, and add their keys there; the report lists them"}
}

// sshOptions is how this program reaches hosts.
func sshOptions(c *cli.Context, log hclog.Logger) sshhost.Options {
	o := sshhost.Options{
		Waits:  console.Waits{W: c.App.ErrWriter}.Tell,
		Logger: log.Named("ssh"), Ask: askSecret(), AcceptNewHostKeys: cliflags.Bool(c, flagAcceptKeys), Given: flagsGiven(c),
		Tell: func(sentence string) { show.Fprintln(c.App.ErrWriter, "migrate: "+sentence) },
	}
	if kept := keptLogOf(c.App); kept != nil {
		o.Recorder = kept
	}
	return o
}
