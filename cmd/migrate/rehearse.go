package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/measure"
	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/rehearsal"
	"hamigrate/migrate/rehearse"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/report"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/migration"

	"github.com/urfave/cli/v2"
)

func rehearseCommand() *cli.Command {
	return &cli.Command{
		Name:   "rehearse",
		Before: noWords,
		Usage:  "migrate a playground cluster on this machine while measuring what its clients see",
		Description: "Builds a real kubeadm cluster of systemd-nspawn hosts like an old production\n" +
			"cluster (etcd on localhost), plans and runs the three phases while requests are sent through\n" +
			"the old address, the load balancer and the kubernetes Service, prints the figures, writes the\n" +
			"report and takes the playground down.\n\n" +
			"With --like the playground is made like the cluster of a spec, which is only read: its Kubernetes\n" +
			"minor, where its etcd listens, its API server's arguments and mounts, its workers. Then it\n" +
			"migrates it, rolls it all back, and migrates it again. What the playground lacks is shown. That it\n" +
			"was rehearsed, and how long each step took, is kept beside the spec's journal\n" +
			"(--journal, where it has another name): plan and run tell it.\n\n" + exitStatus,
		Flags: append(rehearsalFlags("rehearsal", rehearsalRate), strategyFlag(),
			&cli.StringFlag{Name: "like", Usage: "the playground is made like the cluster of this spec `FILE`"},
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
			case cliflags.String(c, flagJournal) != "":
				err = errors.New("--journal is that of the cluster to be like: name its spec with --like")
			default:
				r, err = rehearseOne(c, strategyOf(c), measuringOf(c, teller(c)), rehearsalOptions(c), false)
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
	theirs, err := run.Open(run.SessionOptions{File: c.String("like"), Journal: cliflags.String(c, flagJournal), Tool: version, Log: log, SSH: ssh})
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	o, lacks, err := rehearsal.PlaygroundLike(c.Context, theirs.Access.Reader(migrate.ClusterTarget), theirs.Spec)
	if err != nil {
		return nil, err
	}
	o = chosenOver(c, o)
	tell := teller(c)
	tell(fmt.Sprintf("like %s: Kubernetes %s, etcd on %s, %d workers; arguments of the API server: %d, mounts: %d", theirs.Spec.Name, o.Kubernetes, o.EtcdListen, max(o.Workers, 0), len(o.APIServerArgs), len(o.APIServerMounts)))
	if len(lacks) > 0 {
		tell("the playground will not have: " + strings.Join(lacks, "; "))
	}
	r, err := rehearseOne(c, strategyOf(c), measuringOf(c, tell), o, true)
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

// rehearseOne makes a playground, migrates it with a strategy and takes it down;
// with andBack it is undone and migrated again in between.
func rehearseOne(c *cli.Context, strategy phases.Strategy, how measure.How, options playground.Options, andBack bool) (*report.Report, error) {
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "")
	defer done()
	return rehearse.Run(ctx, rehearse.Options{
		Strategy: strategy, Playground: options, Keep: c.Bool("keep"), AndBack: andBack, Command: c.Command.Name,
		Measure: how, Session: run.SessionOptions{Tool: version, Log: log, SSH: sshOptions(c, log)}, Stop: stop,
		Planned:  func(plans []run.PhasePlan) error { return console.PrintPlan(c.App.Writer, plans, "text", true) },
		Progress: func() rehearse.Progress { return console.NewProgress(c.App.ErrWriter) },
	})
}

// likeFiles are those of the cluster that a rehearsal is like. A spec that lies
// here is somebody's, also where it is like none.
func likeFiles(c *cli.Context) outputfile.Own {
	spec := cmp.Or(c.String("like"), "migrate.yaml")
	return outputfile.Own{Spec: spec, Journal: cmp.Or(c.String(flagJournal), run.JournalBeside(spec))}
}

// checkReport is for the begin of a rehearsal, whose report comes minutes later.
// It makes the report's folder.
func checkReport(c *cli.Context) error {
	file := c.String("report")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("making the folder of --report: %w", err)
	}
	_, err := outputfile.Check("report", file, likeFiles(c))
	return err
}

// keepReport writes the report as JSON to the file of --report.
func keepReport(c *cli.Context, r any) error {
	file := c.String("report")
	if err := outputfile.Save("report", file, 0o644, likeFiles(c), func(w io.Writer) error { return show.WriteJSON(w, r) }); err != nil {
		return err
	}
	_, err := show.Fprintf(c.App.Writer, "Report: %s\n", file)
	return err
}

// rehearsalFlagsOf name the cluster at hand to `migrate rehearse`.
func rehearsalFlagsOf(c *cli.Context, s *run.Session) string {
	flags := "--like " + remote.Quote(s.File)
	if file := cliflags.String(c, flagJournal); file != "" {
		flags += " --journal " + remote.Quote(file)
	}
	return flags
}
