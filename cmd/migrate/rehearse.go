package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/probe"
	"hamigrate/phases"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

// quietTime is how long clients are measured before anything is changed.
const quietTime = 15 * time.Second

func rehearseCommand() *cli.Command {
	return &cli.Command{
		Name:   "rehearse",
		Before: noWords,
		Usage:  "migrate a playground cluster on this machine while measuring what its clients see",
		Description: "Builds a real kubeadm cluster of systemd-nspawn hosts in the shape of an old production\n" +
			"cluster (etcd on localhost), plans and runs the three phases while requests are sent through\n" +
			"the old address, the load balancer and the kubernetes Service, prints the figures, writes the\n" +
			"report and takes the playground down.\n\n" + exitStatus,
		Flags: []cli.Flag{
			commonFlags()[2], strategyFlag(),
			&cli.StringFlag{Name: "kubernetes", Value: playground.DefaultKubernetes, Usage: "Kubernetes `VERSION`"},
			&cli.StringFlag{Name: "etcd-listen", Value: playground.EtcdOnLocalhost, Usage: "`SHAPE` of the old etcd: localhost or host"},
			&cli.StringFlag{Name: "name", Value: "rehearsal", Usage: "the playground's `NAME`"},
			&cli.StringFlag{Name: "report", Value: "out/report.json", Usage: "write the report as JSON to `FILE`"},
			&cli.StringFlag{Name: "sudo-user", Usage: "hosts take this `USER` with sudo instead of root"},
			&cli.Float64Flag{Name: "rate", Value: 10, Usage: "probe `REQUESTS` a second, for each path and kind"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the playground up afterwards"},
		},
		Action: rehearseAction,
	}
}

func rehearseAction(c *cli.Context) (err error) {
	log, err := logger(c)
	if err != nil {
		return err
	}
	// One that is there may be somebody's: it would be migrated and taken
	// down under their hands.
	if _, err := playground.Open(playground.DefaultDir, c.String("name"), nil); err == nil {
		return fmt.Errorf("a playground named %[1]s is there already: `migrate playground down --name %[1]s` removes it, --name takes another", c.String("name"))
	} else if !errors.Is(err, playground.ErrNotFound) {
		return err
	}
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter)
	defer done()
	tell := func(message string) { fmt.Fprintln(c.App.ErrWriter, time.Now().Format("15:04:05 ")+message) }
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
	}
	pg, err := playground.Up(building, options, tell)
	cancel()
	if err != nil {
		return errors.Join(err, takeDown(c, options, pg))
	}
	if !c.Bool("keep") {
		defer func() { err = errors.Join(err, takeDown(c, options, pg)) }()
	}
	return rehearseOn(ctx, c, pg, log, stop, tell)
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
func rehearseOn(ctx context.Context, c *cli.Context, pg *playground.Playground, log hclog.Logger, stop <-chan struct{}, tell func(string)) error {
	s, err := newSession(pg.SpecFile(), filepath.Join(pg.Dir(), "rehearsal.journal"), log)
	if err != nil {
		return err
	}
	defer s.close()
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	plans, err := makePlan(c, s, allPhases(strategyOf(c)), j)
	if err := errors.Join(err, j.Close()); err != nil {
		return err
	}
	if err := printPlan(c.App.Writer, plans, "text"); err != nil {
		return err
	}
	pr, err := startProbe(ctx, s, c.Float64("rate"))
	if err != nil {
		return err
	}
	tell(fmt.Sprintf("measuring for %s before anything is changed", quietTime))
	select {
	case <-time.After(quietTime):
	case <-ctx.Done():
	case <-stop:
	}
	pr.Quiet()
	bar := newProgress(c.App.ErrWriter)
	bar.live = func() string { return fmt.Sprintf("%d requests failed", pr.Snapshot().Failures()) }
	failed := migratePhases(ctx, s, migration{
		strategy: strategyOf(c), phases: allPhases(strategyOf(c)), events: both{bar, addLoadBalancer(s, pr, tell)}, stop: stop,
		confirm: func(phases.Phase) error { return nil },
	})
	measured := pr.Stop()
	return errors.Join(failed, finishRehearsal(c, s, measured))
}

// finishRehearsal keeps the figures in the journal and tells them.
func finishRehearsal(c *cli.Context, s *session, measured probe.Result) error {
	j, err := s.openJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	if err := j.PutBlob("probe", measured); err != nil {
		return err
	}
	r, err := makeReport(j)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer)
	if err := printReport(c.App.Writer, r); err != nil {
		return err
	}
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

// startProbe probes the old address from here and the Service from a worker.
func startProbe(ctx context.Context, s *session, rate float64) (*probe.Probe, error) {
	v := s.world.View(migrate.ClusterTarget)
	cfg, err := v.AdminConfig(ctx)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cfg.CertData, cfg.KeyData)
	if err != nil {
		return nil, fmt.Errorf("reading the admin's certificate: %w", err)
	}
	old, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	paths := []probe.Path{{Name: "old-address", From: "operator", URL: "https://" + old}}
	service, err := servicePaths(ctx, v)
	if err != nil {
		return nil, err
	}
	return probe.Start(ctx, probe.Config{
		Paths: append(paths, service...), CA: cfg.CAData, Rate: rate, Logger: s.log.Named("probe"),
		Certificate: func() (*tls.Certificate, error) { return &pair, nil },
	})
}

// servicePaths go to the kubernetes Service from the first worker and from
// the first control-plane node, where kube-proxy's rules differ in effect:
// each connection is opened on the node.
func servicePaths(ctx context.Context, v phases.View) ([]probe.Path, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	ip, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return nil, err
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	nodes := []string{v.First().Name}
	if len(workers) > 0 {
		nodes = append(nodes, workers[0].Name)
	}
	var paths []probe.Path
	for _, node := range nodes {
		paths = append(paths, probe.Path{Name: "service", From: node, URL: "https://" + net.JoinHostPort(ip, "443"), Dial: kube.Dialer(v.On(node).DialContext)})
	}
	return paths, nil
}

// addLoadBalancer probes the endpoint from the step on that makes it.
func addLoadBalancer(s *session, pr *probe.Probe, tell func(string)) migrate.Events {
	added := false
	return onEvent(func(e migrate.Event) {
		if added || e.Phase != 1 || e.Step != "loadbalancer/nginx-stream" ||
			(e.Kind != migrate.EventStepDone && e.Kind != migrate.EventStepSatisfied) {
			return
		}
		added = true
		url := s.world.View(migrate.ClusterTarget).EndpointURL()
		if err := pr.AddPath(probe.Path{Name: "load-balancer", From: "operator", URL: url}); err != nil {
			tell("probing the load balancer: " + err.Error())
		}
	})
}
