package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/rehearsal"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/report"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/migration"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

func rehearseCommand() *cli.Command {
	return &cli.Command{
		Name:   "rehearse",
		Before: noWords,
		Usage:  "migrate a playground cluster on this machine while measuring what its clients see",
		Description: "Builds a real kubeadm cluster of systemd-nspawn hosts in the shape of an old production\n" +
			"cluster (etcd on localhost), plans and runs the three phases while requests are sent through\n" +
			"the old address, the load balancer and the kubernetes Service, prints the figures, writes the\n" +
			"report and takes the playground down.\n\n" +
			"With --like the shape is that of the cluster of a spec, which is only read: its Kubernetes\n" +
			"minor, where its etcd listens, its API server's arguments and mounts, its workers. Then it\n" +
			"goes forward, all the way back, and forward again. What the playground lacks is told. That it\n" +
			"was rehearsed, and how long each step took, is kept beside the spec's journal\n" +
			"(--journal, where it has another name): plan and run tell it.\n\n" + exitStatus,
		Flags: append(rehearsalFlags("rehearsal", rehearsalRate), strategyFlag(),
			&cli.StringFlag{Name: "like", Usage: "the playground gets the shape of the cluster of this spec `FILE`"},
			&cli.StringFlag{Name: flagJournal, Usage: "with --like: that cluster's journal `FILE` (default: beside its spec)"},
			&cli.StringFlag{Name: "report", Value: "out/report.json", Usage: "write the report as JSON to `FILE`"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the playground up afterwards"}),
		Action: func(c *cli.Context) error {
			var r *report.Report
			err := errors.Join(checkReport(c), probeFits(c))
			switch {
			case err != nil:
			case c.String("like") != "":
				r, err = rehearseLike(c)
			case common(c, flagJournal) != "":
				err = errors.New("--journal is that of the cluster to be like: name its spec with --like")
			default:
				r, err = rehearse(c, strategyOf(c), measuringOf(c, teller(c)), rehearsalOptions(c), false)
			}
			if r == nil {
				return err
			}
			show.Fprintln(c.App.Writer)
			return errors.Join(err, report.Print(c.App.Writer, *r), keepReport(c, *r))
		},
	}
}

// rehearseLike rehearses on the shape of a real cluster, and keeps beside that
// one's journal what came of it.
func rehearseLike(c *cli.Context) (*report.Report, error) {
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	ssh := sshOptions(c, log)
	ssh.Given = " --file " + remote.Quote(c.String("like"))
	theirs, err := run.Open(run.SessionOptions{File: c.String("like"), Journal: common(c, flagJournal), Tool: version, Log: log, SSH: ssh})
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	o, lacks, err := rehearsal.PlaygroundLike(c.Context, theirs.World.View(migrate.ClusterTarget), theirs.Spec)
	if err != nil {
		return nil, err
	}
	o = chosenOver(c, o)
	tell := teller(c)
	tell(fmt.Sprintf("like %s: Kubernetes %s, etcd on %s, %d workers; arguments of the API server: %d, mounts: %d", theirs.Spec.Name, o.Kubernetes, o.EtcdListen, max(o.Workers, 0), len(o.APIServerArgs), len(o.APIServerMounts)))
	if len(lacks) > 0 {
		tell("the playground will not have: " + strings.Join(lacks, "; "))
	}
	r, err := rehearse(c, strategyOf(c), measuringOf(c, tell), o, true)
	if r == nil {
		return nil, err
	}
	known := rehearsal.NewNote(theirs.Spec, strategyOf(c), migration.Of(theirs.Spec, strategyOf(c)), *r, lacks, version)
	if err != nil {
		known.Result = "failed"
	}
	return r, errors.Join(err, rehearsal.Keep(theirs.Journal, known))
}

// rehearsalOptions are the playground of the flags.
func rehearsalOptions(c *cli.Context) playground.Options {
	return playground.Options{
		Name: c.String("name"), Kubernetes: c.String("kubernetes"), EtcdListen: c.String("etcd-listen"), SudoUser: c.String("sudo-user"),
		Objects: c.Int("objects"),
	}
}

// chosenOver lets a flag that was given count for more than the shape.
func chosenOver(c *cli.Context, o playground.Options) playground.Options {
	given := rehearsalOptions(c)
	o.Name, o.Objects = given.Name, given.Objects
	for name, set := range map[string]func(){
		"kubernetes":  func() { o.Kubernetes = given.Kubernetes },
		"etcd-listen": func() { o.EtcdListen = given.EtcdListen },
		"sudo-user":   func() { o.SudoUser = given.SudoUser },
	} {
		if c.IsSet(name) {
			set()
		}
	}
	return o
}

// The rates of a rehearsal and of a bench, a second for each path and kind. All
// hosts and all clients share this machine's processors: what a rehearsal asks
// is to show an outage, 20 requests a second on a path, and not to make one.
const (
	rehearsalRate = 5
	benchRate     = 10
)

// rehearsalFlags are those of commands that migrate a playground.
func rehearsalFlags(name string, rate float64) []cli.Flag {
	return append([]cli.Flag{
		commonFlags()[2],
		&cli.StringFlag{Name: "kubernetes", Value: playground.DefaultKubernetes, Usage: "Kubernetes `VERSION`"},
		&cli.StringFlag{Name: "etcd-listen", Value: playground.EtcdOnLocalhost, Usage: "`SHAPE` of the old etcd: localhost or host"},
		&cli.IntFlag{Name: "objects", Usage: "fill the cluster with `N` objects first; 30000 are about 200 MB of etcd"},
		&cli.StringFlag{Name: "name", Value: name, Usage: "the playground's `NAME`"},
		&cli.StringFlag{Name: "sudo-user", Usage: "hosts take this `USER` with sudo instead of root"},
	}, measuringFlags(rate, time.Minute)...)
}

// rehearse makes a playground, migrates it with a strategy and takes it down;
// with andBack it is taken back and migrated again in between. The report is there as soon as there was something to report, also with an
// error.
func rehearse(c *cli.Context, strategy phases.Strategy, how measuring, options playground.Options, andBack bool) (r *report.Report, err error) {
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	// One that is there may be somebody's: it would be migrated and taken
	// down under their hands.
	if _, err := playground.Open(playground.DefaultDir, c.String("name"), nil); err == nil {
		return nil, fmt.Errorf("a playground named %[1]s is there already: `migrate playground down --name %[1]s` removes it, --name takes another", c.String("name"))
	} else if !errors.Is(err, playground.ErrNotFound) {
		return nil, err
	}
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "")
	defer done()
	run.BeginsToChange(ctx) // what is built is taken down as a whole
	// Until the migration begins there is nothing to finish: the first
	// Ctrl-C ends the set-up.
	building, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-building.Done():
		}
	}()
	pg, err := playground.Up(building, options, how.tell)
	cancel()
	if err != nil {
		return nil, errors.Join(err, takeDown(c, options, pg))
	}
	defer func() {
		if down := takeDown(c, options, pg); down != nil {
			err = errors.Join(err, down)
			return
		}
		err = whatIsLeft(c, err)
	}()
	return rehearseOn(ctx, c, pg, log, stop, strategy, how, andBack)
}

// whatIsLeft adds to the error of a rehearsal that was stopped what there is
// now, and how to go on.
func whatIsLeft(c *cli.Context, err error) error {
	switch {
	case !errors.Is(err, migrate.ErrStopped):
		return err
	case c.Bool("keep"):
		return fmt.Errorf("%w; the playground is up as it is: `migrate playground down --name %s` removes it", err, c.String("name"))
	}
	return fmt.Errorf("%w; the playground is taken down, and `migrate %s` begins with a new one", err, c.Command.Name)
}

// takeDown removes the playground, also after Ctrl-C and of one half made.
func takeDown(c *cli.Context, o playground.Options, pg *playground.Playground) error {
	if c.Bool("keep") {
		return nil
	}
	if pg == nil {
		half, err := playground.Open(playground.DefaultDir, o.Name, nil)
		if errors.Is(err, playground.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		pg = half
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), 2*time.Minute)
	defer cancel()
	if err := pg.Down(ctx); err != nil {
		return fmt.Errorf("taking the playground down (again: migrate playground down --name %s): %w", o.Name, err)
	}
	return nil
}

// rehearseOn measures and migrates. Its report has the steps and their times
// of the first way forward; with andBack the figures of clients are of all
// three ways, and the result is that of the last.
func rehearseOn(ctx context.Context, c *cli.Context, pg *playground.Playground, log hclog.Logger, stop <-chan struct{}, strategy phases.Strategy, how measuring, andBack bool) (*report.Report, error) {
	ssh := sshOptions(c, log)
	ssh.Given = " --file " + remote.Quote(pg.SpecFile())
	ssh.NoUserConfig = true // it knows nothing of a playground, and may lead elsewhere
	s, err := run.Open(run.SessionOptions{File: pg.SpecFile(), Journal: filepath.Join(pg.Dir(), "rehearsal.journal"), Tool: version, Log: log, SSH: ssh})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	announced, err := rehearsalPlan(c, s, strategy)
	if err != nil {
		return nil, err
	}
	bar := console.NewProgress(c.App.ErrWriter)
	s.TellWaits(bar.Waits)
	how.tell = bar.Say
	o := run.Options{Command: "rehearse", Strategy: strategy, Chosen: true, Events: bar, Stop: stop, Operator: run.Unattended{Tell: bar.Say}, Prober: proberOf(how, bar)}
	failed := run.Run(ctx, s, o)
	r, err := reportOf(s)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	r.AnnouncedOutageSeconds = announced.Seconds()
	if failed != nil || !andBack {
		return r, failed
	}
	failed = backAndForth(ctx, s, o, how, bar)
	last, err := reportOf(s)
	if err != nil {
		return r, errors.Join(failed, err)
	}
	r.Probe, r.Result, r.Backups = last.Probe, last.Result, last.Backups
	return r, failed
}

// backAndForth takes a migration back and does it again.
func backAndForth(ctx context.Context, s *run.Session, o run.Options, how measuring, bar *console.Progress) error {
	how.quiet = 0 // measured before the first way forward
	o.Prober = proberOf(how, bar)
	bar.Say("all the way back")
	if err := run.Rollback(ctx, s, o); err != nil {
		return err
	}
	bar.Say("and forward again")
	return run.Run(ctx, s, o)
}

// reportOf makes a report of the session's journal.
func reportOf(s *run.Session) (*report.Report, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return nil, err
	}
	r, err := report.Make(j, migration.Phases)
	return &r, errors.Join(err, j.Close())
}

// rehearsalPlan prints the plan and returns the outage it announces.
func rehearsalPlan(c *cli.Context, s *run.Session, strategy phases.Strategy) (time.Duration, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return 0, err
	}
	plans, err := run.MakePlan(c.Context, s, migration.Of(s.Spec, strategy), j)
	if err := errors.Join(err, j.Close()); err != nil {
		return 0, err
	}
	var away time.Duration
	for _, p := range plans {
		away += run.OutageOf(p.Entries)
	}
	return away, console.PrintPlan(c.App.Writer, plans, "text", true)
}

// likeFiles are those of the cluster that a rehearsal is like. A spec that lies
// here is somebody's, also where it is like none.
func likeFiles(c *cli.Context) ownFiles {
	spec := or(c.String("like"), "migrate.yaml")
	return ownFiles{spec, or(c.String(flagJournal), run.JournalBeside(spec))}
}

// checkReport is for the begin of a rehearsal, whose report comes minutes later.
// It makes the report's folder.
func checkReport(c *cli.Context) error {
	file := c.String("report")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("making the folder of --report: %w", err)
	}
	_, err := checkOutput("report", file, likeFiles(c))
	return err
}

// keepReport writes the report as JSON to the file of --report.
func keepReport(c *cli.Context, r any) error {
	file := c.String("report")
	if err := writeOutput("report", file, 0o644, likeFiles(c), func(w io.Writer) error { return show.WriteJSON(w, r) }); err != nil {
		return err
	}
	_, err := show.Fprintf(c.App.Writer, "Report: %s\n", file)
	return err
}

// rehearsalFlagsOf name the cluster at hand to `migrate rehearse`.
func rehearsalFlagsOf(c *cli.Context, s *run.Session) string {
	flags := "--like " + remote.Quote(s.File)
	if file := common(c, flagJournal); file != "" {
		flags += " --journal " + remote.Quote(file)
	}
	return flags
}
