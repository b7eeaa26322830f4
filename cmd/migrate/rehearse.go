package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hamigrate/migrate/playground"
	"hamigrate/phases"

	"github.com/google/renameio/v2"
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
			"report and takes the playground down.\n\n" + exitStatus,
		Flags: append(rehearsalFlags("rehearsal"), strategyFlag(),
			&cli.StringFlag{Name: "report", Value: "out/report.json", Usage: "write the report as JSON to `FILE`"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the playground up afterwards"}),
		Action: func(c *cli.Context) error {
			r, err := rehearse(c, strategyOf(c), measuringOf(c, teller(c)))
			if r == nil {
				return err
			}
			fmt.Fprintln(c.App.Writer)
			return errors.Join(err, printReport(c.App.Writer, *r), keepReport(c, *r))
		},
	}
}

// rehearsalFlags are those of commands that migrate a playground.
func rehearsalFlags(name string) []cli.Flag {
	return append([]cli.Flag{
		commonFlags()[2],
		&cli.StringFlag{Name: "kubernetes", Value: playground.DefaultKubernetes, Usage: "Kubernetes `VERSION`"},
		&cli.StringFlag{Name: "etcd-listen", Value: playground.EtcdOnLocalhost, Usage: "`SHAPE` of the old etcd: localhost or host"},
		&cli.IntFlag{Name: "objects", Usage: "fill the cluster with `N` objects first; 30000 are about 200 MB of etcd"},
		&cli.StringFlag{Name: "name", Value: name, Usage: "the playground's `NAME`"},
		&cli.StringFlag{Name: "sudo-user", Usage: "hosts take this `USER` with sudo instead of root"},
	}, measuringFlags(10, time.Minute)...)
}

// rehearse makes a playground, migrates it with a strategy and takes it down.
// The report is there as soon as there was something to report, also with an
// error.
func rehearse(c *cli.Context, strategy phases.Strategy, how measuring) (r *report, err error) {
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
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "rehearse")
	defer done()
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
	options := playground.Options{
		Name: c.String("name"), Kubernetes: c.String("kubernetes"), EtcdListen: c.String("etcd-listen"), SudoUser: c.String("sudo-user"),
		Objects: c.Int("objects"),
	}
	pg, err := playground.Up(building, options, how.tell)
	cancel()
	if err != nil {
		return nil, errors.Join(err, takeDown(c, options, pg))
	}
	if !c.Bool("keep") {
		defer func() { err = errors.Join(err, takeDown(c, options, pg)) }()
	}
	return rehearseOn(ctx, c, pg, log, stop, strategy, how)
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

// rehearseOn measures and migrates.
func rehearseOn(ctx context.Context, c *cli.Context, pg *playground.Playground, log hclog.Logger, stop <-chan struct{}, strategy phases.Strategy, how measuring) (*report, error) {
	ssh := sshOptions(c, log)
	ssh.NoUserConfig = true // it knows nothing of a playground, and may lead elsewhere
	s, err := newSession(pg.SpecFile(), filepath.Join(pg.Dir(), "rehearsal.journal"), log, ssh)
	if err != nil {
		return nil, err
	}
	defer s.close()
	announced, err := rehearsalPlan(c, s, strategy)
	if err != nil {
		return nil, err
	}
	bar := newProgress(c.App.ErrWriter)
	how.tell = bar.say
	failed := migratePhases(ctx, s, migration{
		strategy: strategy, chosen: true, phases: allPhases(strategy), events: bar, bar: bar, stop: stop,
		confirm: func(phases.Phase) error { return nil }, measuring: how, command: "rehearse",
	})
	j, err := s.readJournal()
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	defer j.Close()
	r, err := makeReport(j)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	r.AnnouncedOutageSeconds = announced.Seconds()
	return &r, failed
}

// rehearsalPlan prints the plan and returns the outage it announces.
func rehearsalPlan(c *cli.Context, s *session, strategy phases.Strategy) (time.Duration, error) {
	j, err := s.readJournal()
	if err != nil {
		return 0, err
	}
	plans, err := makePlan(c, s, allPhases(strategy), j)
	if err := errors.Join(err, j.Close()); err != nil {
		return 0, err
	}
	var away time.Duration
	for _, p := range plans {
		away += outageOf(p.Entries)
	}
	return away, printPlan(c.App.Writer, plans, "text")
}

// keepReport writes the report as JSON to the file of --report.
func keepReport(c *cli.Context, r any) error {
	file := c.String("report")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	defer out.Cleanup()
	if err := writeReport(out, r); err != nil {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "Report: %s\n", file)
	return err
}
