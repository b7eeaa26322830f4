package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/report"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/phases/verify"
	"hamigrate/state"

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
			timeFlag(cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "ask the cluster for at most `TIME`, all in all"})),
		Action: supportAction,
	}
}

func supportAction(c *cli.Context) error {
	now := time.Now().UTC()
	file := or(c.String("out"), "migrate-support-"+now.Format("20060102T150405Z")+".tar.gz")
	journal := journalNamed(c)
	if err := checkNew("out", file, ownFiles{or(common(c, flagFile), "migrate.yaml"), journal}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.WithValue(c.Context, unasked{}, true), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := openSession(c)
	if err != nil && c.Bool("anonymous") {
		return fmt.Errorf("--anonymous: no archive is written, since the spec says which names are to be replaced, and it can't be read: %w", err)
	}
	a := newArchive(now)
	if err == nil {
		defer closeSoon(s)
		journal = s.journal
		if c.Bool("anonymous") {
			a.hideNames(s.spec)
		}
		a.add("spec.json", "the spec as it was understood, without its comments", specForOthers(s.spec))
	} else {
		a.lacks("spec.json", err)
	}
	a.add("version.json", "this program, this machine, and how it was called", aboutHere(now))
	a.addJournal(journal)
	a.addLog(logBeside(journal))
	switch {
	case s == nil:
		a.lacks("plan.json, preflight.json, verify.json", errors.New("they need the spec"))
	case c.Bool("offline"):
		a.lacks("plan.json, preflight.json, verify.json", errors.New("the cluster was not to be asked (--offline)"))
	default:
		show.Fprintf(c.App.ErrWriter, "Asking the cluster, for at most %s. Ctrl-C writes what there is.\n", show.Seconds(c.Duration("wait")))
		a.addLooks(ctx, s, c.Duration("wait"))
	}
	if err := a.write(file); err != nil {
		return err
	}
	show.Fprintf(c.App.Writer, "Written: %s. Look into it before you hand it on:\n  tar -xzOf %s %s/MANIFEST.txt\n", file, file, archiveFolder)
	keptLogOf(c.App).unkept(func() { a.tellNames(c.App.Writer) })
	return nil
}

// checkNew refuses a file that is there, whatever it is, before anything is done.
func checkNew(flag, file string, own ownFiles) error {
	if file == "-" {
		return fmt.Errorf("--%s -: the archive goes to a file and not to the standard output: name one, such as help.tar.gz", flag)
	}
	if _, err := checkOutput(flag, file, own); err != nil {
		return err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--%s %s is there already and is not overwritten: name another file, or move it away", flag, file)
	}
	return nil
}

// closeSoon gives back the connections, but does not wait for one that hangs.
func closeSoon(s *session) {
	closed := make(chan struct{})
	go func() { s.close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
	}
}

// inTime runs a look, and gives it up when its time is over, whether it listens or
// not: this command must end on a network that swallows everything.
func inTime[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		v, err := look(ctx)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		if a.err != nil && ctx.Err() != nil {
			a.err = fmt.Errorf("its time was over (--wait), or Ctrl-C: %w", a.err)
		}
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("its time was over (--wait), or Ctrl-C: %w", context.Cause(ctx))
	}
}

// addLooks adds what looking commands see. They are done at once, so that one that
// waits for a host does not take the time of the others.
func (a *archive) addLooks(ctx context.Context, s *session, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	strategy := phases.Overlap
	plans := func(ctx context.Context) ([]phasePlan, error) {
		var all []phasePlan
		for _, p := range allPhases(strategy) {
			entries, err := migrate.Plan(ctx, s.world, p, noRecords{})
			if err != nil {
				return all, err
			}
			all = append(all, phasePlan{Phase: p.Number, Name: p.Name, Title: p.Title, Entries: entries})
		}
		return all, nil
	}
	looks := []struct {
		file, what string
		look       func(context.Context) (any, error)
	}{
		{"plan.json", "what `migrate plan` sees", func(ctx context.Context) (any, error) { return plans(ctx) }},
		{"preflight.json", "the checks of `migrate preflight` that only look", func(ctx context.Context) (any, error) {
			return preflight.Run(ctx, s.world, preflight.Options{LookOnly: true})
		}},
		{"verify.json", "the checks of `migrate verify`", func(ctx context.Context) (any, error) { return verify.Run(ctx, s.world, nil) }},
	}
	type seen struct {
		value any
		err   error
	}
	answers := make([]chan seen, len(looks))
	for i, l := range looks {
		answers[i] = make(chan seen, 1)
		go func() {
			v, err := inTime(ctx, l.look)
			answers[i] <- seen{v, err}
		}()
	}
	for i, l := range looks {
		got := <-answers[i]
		if got.err != nil {
			a.lacks(l.file, got.err)
			continue
		}
		a.add(l.file, l.what, got.value)
	}
}

// addJournal adds the journal and the report that is made of it.
func (a *archive) addJournal(path string) {
	if _, err := os.Stat(path); err != nil {
		a.lacks("journal.json, report.json", err)
		return
	}
	j, err := state.OpenReadOnly(path, state.Options{Tool: version})
	if err != nil {
		a.lacks("journal.json, report.json", err)
		return
	}
	defer j.Close()
	dump, err := dumpJournal(j)
	if err != nil {
		a.lacks("journal.json", err)
	} else {
		a.add("journal.json", "the journal: runs, phases, records with what was there before, history", dump)
	}
	r, err := report.Make(j, allPhases)
	if err != nil {
		a.lacks("report.json", err)
		return
	}
	a.add("report.json", "what `migrate report -o json` prints", r)
}

// tellNames tells who is who, so that an answer about host-1 is understood.
func (a *archive) tellNames(w io.Writer) {
	if a.names == nil {
		return
	}
	show.Fprintln(w, "In it stands:")
	for _, pair := range a.names.pairs() {
		show.Fprintf(w, "  %s for %s\n", pair[1], pair[0])
	}
}
