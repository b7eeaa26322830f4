package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/migrate/support"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/phases/preflight"
	"hamigrate/phases/verify"

	"github.com/urfave/cli/v2"
)

func supportCommand() *cli.Command {
	return &cli.Command{
		Name:   "support",
		Before: noWords,
		Usage:  "write one archive for somebody who helps: what was done, what is true now, without secrets",
		Description: "The archive has the spec, the journal, the report, the log, and what plan, preflight and verify\n" +
			"see now, as far as the cluster answers within --wait. MANIFEST.txt in it lists each file and what\n" +
			"was left out (docs/log.md). Nothing is changed on the cluster, and nobody is asked for anything.\n" +
			"Secrets are hidden. Names and addresses of hosts and users are not, unless with --anonymous,\n" +
			"which writes host-1, address-1, user-1 for them, the same in all files, and needs the spec. Nothing is sent anywhere:\n" +
			"look into it, then hand it on.\n\n" +
			"   migrate support --anonymous --out help.tar.gz\n" +
			"   tar -xzOf help.tar.gz migrate-support/MANIFEST.txt\n\n" + exitStatus,
		Flags: append(commonFlags(),
			&cli.StringFlag{Name: "out", Usage: "write the archive to `FILE`, which must not be there", DefaultText: "migrate-support-TIME.tar.gz"},
			&cli.BoolFlag{Name: "anonymous", Usage: "replace the names and addresses of hosts and users"},
			&cli.BoolFlag{Name: "offline", Usage: "do not ask the cluster"},
			cliflags.Time(cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "ask the cluster for at most `TIME`, all in all"})),
		Action: supportAction,
	}
}

func supportAction(c *cli.Context) error {
	now := time.Now().UTC()
	file := cmp.Or(c.String("out"), "migrate-support-"+now.Format("20060102T150405Z")+".tar.gz")
	journal := journalNamed(c)
	if file == "-" {
		return errors.New("--out -: the archive goes to a file and not to the standard output: name one, such as help.tar.gz")
	}
	if err := outputfile.CheckNew("out", file, outputfile.Own{Spec: cmp.Or(cliflags.String(c, flagFile), "migrate.yaml"), Journal: journal}); err != nil {
		return err
	}
	ctx, done := untilSignalled(run.WithoutQuestions(c.Context))
	defer done()
	s, err := openSession(c)
	if err != nil && c.Bool("anonymous") {
		return fmt.Errorf("--anonymous: no archive is written, since the spec says which names are to be replaced, and it can't be read: %w", err)
	}
	a := support.New(now, version)
	if err == nil {
		defer closeSoon(s)
		journal = s.Journal
		if c.Bool("anonymous") {
			a.HideNames(s.Spec)
		}
		a.Add("spec.json", "the spec as it was understood, without its comments", support.SpecForOthers(s.Spec))
	} else {
		a.Lacks("spec.json", err)
	}
	a.Add("version.json", "this program, this machine, and how it was called", support.AboutHere(now, version))
	a.AddJournal(journal, migration.Phases, runrecord.AboutBlob, runrecord.TimingsBlob, runrecord.HostKeysBlob, runrecord.BackupsBlob, run.RenewalBlob, run.RestoreBlob)
	a.AddLog(commandlog.Beside(journal))
	switch {
	case s == nil:
		a.Lacks("plan.json, preflight.json, verify.json", errors.New("they need the spec"))
	case c.Bool("offline"):
		a.Lacks("plan.json, preflight.json, verify.json", errors.New("the cluster was not to be asked (--offline)"))
	default:
		show.Fprintf(c.App.ErrWriter, "Asking the cluster, for at most %s. Ctrl-C writes what there is.\n", show.Seconds(c.Duration("wait")))
		a.AddLooks(ctx, c.Duration("wait"), looksOf(s))
	}
	if err := a.Save(file); err != nil {
		return err
	}
	show.Fprintf(c.App.Writer, "Written: %s. Look into it before you hand it on:\n  tar -xzOf %s %s/MANIFEST.txt\n", file, file, support.Folder)
	keptLogOf(c.App).Without(func() { a.TellNames(c.App.Writer) })
	return nil
}

// closeSoon gives back the connections, but does not wait for one that hangs.
func closeSoon(s *run.Session) {
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
	}
}

// looksOf are what looking commands see.
func looksOf(s *run.Session) []support.Look {
	plans := func(ctx context.Context) ([]run.PhasePlan, error) {
		var all []run.PhasePlan
		for _, p := range migration.Of(s.Spec, phases.Overlap) {
			entries, err := migrate.Plan(ctx, s.Access, p, run.NoRecords{})
			if err != nil {
				return all, err
			}
			all = append(all, run.PhasePlan{Phase: p.Number, Name: p.Name, Title: p.Title, Entries: entries})
		}
		return all, nil
	}
	return []support.Look{
		{File: "plan.json", What: "what `migrate plan` sees", See: func(ctx context.Context) (any, error) { return plans(ctx) }},
		{File: "preflight.json", What: "the checks of `migrate preflight` that only look", See: func(ctx context.Context) (any, error) {
			return preflight.Run(ctx, s.Access, preflight.Options{LookOnly: true})
		}},
		{File: "verify.json", What: "the checks of `migrate verify`", See: func(ctx context.Context) (any, error) { return verify.Run(ctx, s.Access, nil) }},
	}
}
