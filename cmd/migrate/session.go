package main

import (
	"cmp"
	"fmt"

	"hamigrate/cmd/migrate/cliflags"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"hamigrate/migrate/outputfile"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/migration"
)

// Flags that every command with a cluster has, before or after its name.
const (
	flagFile    = "file"
	flagJournal = "journal"
	flagLog     = "log-level"
)

func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagFile, Aliases: []string{"f"}, Usage: "the spec `FILE`, - for standard input (default: migrate.yaml)"},
		&cli.StringFlag{Name: flagJournal, Usage: "the journal `FILE` (default: beside the spec, its name ending in .journal)"},
		&cli.StringFlag{Name: flagLog, Usage: "log for machines on stderr from `LEVEL` on: trace, debug, info, warn or error"},
		acceptKeysFlag(),
	}
}

// openSession reads the spec and begins the log; hosts are connected to when they
// are needed.
func openSession(c *cli.Context) (*run.Session, error) {
	s, err := readSession(c)
	if err == nil {
		keepLog(c, s.Journal)
	}
	return s, err
}

// readSession is for commands that only read what is on this machine: of these
// there is no log.
func readSession(c *cli.Context) (*run.Session, error) {
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	return run.Open(run.SessionOptions{File: specFile(c), Journal: cliflags.String(c, flagJournal), Given: flagsGiven(c), Tool: version, Log: log, SSH: sshOptions(c, log)})
}

// ownFilesOf are the files of a session that no output may replace.
func ownFilesOf(s *run.Session) outputfile.Own {
	return outputfile.Own{Spec: s.File, Journal: s.Journal}
}

// specFile is the spec's name as it was given.
func specFile(c *cli.Context) string { return cmp.Or(cliflags.String(c, flagFile), "migrate.yaml") }

// strategyFlag chooses how an API server is restarted.
func strategyFlag() cli.Flag {
	return &cli.StringFlag{Name: "strategy", Value: string(phases.Overlap),
		Usage: "`HOW` an API server is restarted: overlap (a second one answers meanwhile) or in-place (the API is away)",
		Action: func(_ *cli.Context, v string) error {
			if s := phases.Strategy(v); s != phases.Overlap && s != phases.InPlace {
				return fmt.Errorf("--strategy %s: write %s or %s", v, phases.Overlap, phases.InPlace)
			}
			return nil
		}}
}

func strategyOf(c *cli.Context) phases.Strategy { return phases.Strategy(c.String("strategy")) }

// phasesFor picks the phases of a spec that --phase names; 0 means all.
func phasesFor(spec cluster.Spec, number int, s phases.Strategy) ([]phases.Phase, error) {
	all := migration.Of(spec, s)
	if number == 0 {
		return all, nil
	}
	if err := thereIs(number); err != nil {
		return nil, err
	}
	return all[number-1 : number], nil
}

// thereIs is the error that no phase has a number.
func thereIs(number int) error {
	if last := len(migration.Declared()); number < 1 || number > last {
		return fmt.Errorf("--phase %d: there are the phases 1 to %d", number, last)
	}
	return nil
}

func phaseFlag() cli.Flag {
	return &cli.IntFlag{Name: "phase", Aliases: []string{"p"}, DefaultText: "all", Usage: "only phase `N`: 1 load balancer, 2 etcd, 3 control plane",
		Action: func(_ *cli.Context, n int) error {
			return thereIs(n)
		}}
}

func logger(c *cli.Context) (hclog.Logger, error) {
	name := cliflags.String(c, flagLog)
	if name == "" {
		return hclog.NewNullLogger(), nil
	}
	level := hclog.LevelFromString(name)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("--%s %s: write one of trace, debug, info, warn, error", flagLog, name)
	}
	return hclog.New(&hclog.LoggerOptions{Name: "migrate", Level: level, Output: c.App.ErrWriter, JSONFormat: !show.IsTerminal(c.App.ErrWriter)}), nil
}
