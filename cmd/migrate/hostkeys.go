package main

import (
	"io"
	"slices"

	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/show"
	"hamigrate/state"

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
		Waits:  waitLines{c.App.ErrWriter}.tell,
		Logger: log.Named("ssh"), Ask: askSecret(), AcceptNewHostKeys: commonBool(c, flagAcceptKeys), Given: flagsGiven(c),
		Tell: func(sentence string) { show.Fprintln(c.App.ErrWriter, "migrate: "+sentence) },
	}
	if kept := keptLogOf(c.App); kept != nil {
		o.Recorder = kept
	}
	return o
}

// commonBool is common for a switch.
func commonBool(c *cli.Context, name string) bool {
	return slices.ContainsFunc(c.Lineage(), func(level *cli.Context) bool { return level.Bool(name) })
}

// hostKeysBlob is the journal's blob of the host keys that nobody compared.
const hostKeysBlob = "host-keys"

// keepHostKeys adds to the journal which host keys are trusted because they
// were the first ones shown, by this command or one before it.
func keepHostKeys(j *state.Journal, now []sshhost.HostKey) error {
	var known []sshhost.HostKey
	if _, err := j.GetBlob(hostKeysBlob, &known); err != nil {
		return err
	}
	had := len(known)
	for _, k := range now {
		same := func(other sshhost.HostKey) bool { return other.Host == k.Host && other.Fingerprint == k.Fingerprint }
		if !slices.ContainsFunc(known, same) {
			known = append(known, k)
		}
	}
	if len(known) == had {
		return nil
	}
	return j.PutBlob(hostKeysBlob, known)
}

// printHostKeys prints them for a report.
func printHostKeys(w io.Writer, keys []sshhost.HostKey) {
	for _, k := range keys {
		show.Fprintf(w, "Nobody compared the host key of %s (%s): %s %s, accepted %s.\n",
			k.Host, k.Address, k.Type, k.Fingerprint, k.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
}
