package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/state"
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

func outputFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: formats[0], Usage: "`FORMAT`: " + strings.Join(formats, " or "),
		Action: func(_ *cli.Context, v string) error {
			if !slices.Contains(formats, v) {
				return fmt.Errorf("--output %s: write one of %s", v, strings.Join(formats, ", "))
			}
			return nil
		}}
}

// common reads a flag that may stand before or after the command's name.
func common(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		if level.IsSet(name) {
			return level.String(name)
		}
	}
	return ""
}

// session is one command's work on one cluster.
type session struct {
	spec    cluster.Spec
	file    string
	journal string
	given   string // the flags that name the cluster, for the next command
	log     hclog.Logger
	pool    *sshhost.Pool
	world   *phases.World
	waits   *waitLines // nil where nobody is told
}

// own are the files that no output may replace.
func (s *session) own() ownFiles { return ownFiles{s.file, s.journal} }

// hosts adapts the pool to what the phases ask for.
type hosts struct{ pool *sshhost.Pool }

func (h hosts) Host(ctx context.Context, c cluster.Host) (remote.Host, error) {
	return h.pool.Host(ctx, c)
}

// Waits tells of answers that take long; phases.World asks for it.
func (h hosts) Waits(c cluster.Host, what string) (done func()) { return h.pool.Waits(c, what) }

// Lost counts the connections that were lost; phases.World asks for it.
func (h hosts) Lost() int { return h.pool.Lost() }

// openSession reads the spec and begins the log; hosts are connected to when they
// are needed.
func openSession(c *cli.Context) (*session, error) {
	s, err := readSession(c)
	if err == nil {
		keepLog(c, s.journal)
	}
	return s, err
}

// readSession is for commands that only read what is on this machine: of these
// there is no log.
func readSession(c *cli.Context) (*session, error) {
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	ssh, waits := sshOptions(c, log), &waitLines{w: c.App.ErrWriter}
	ssh.Waits = waits.tell
	s, err := newSession(specFile(c), common(c, flagJournal), log, ssh)
	if err != nil {
		return nil, err
	}
	s.given, s.waits = flagsGiven(c), waits
	return s, nil
}

// specFile is the spec's name as it was given.
func specFile(c *cli.Context) string { return or(common(c, flagFile), "migrate.yaml") }

// readSpec reads the spec that a command is about.
func readSpec(file string) (cluster.Spec, error) {
	if _, err := os.Stat(file); file != inputfile.Stdin && errors.Is(err, os.ErrNotExist) {
		return cluster.Spec{}, fmt.Errorf("there is no %s: name the spec with --file, or let `migrate init root@HOST` write one, with the address of your control-plane node", file)
	}
	return cluster.Parse(file)
}

func newSession(file, journal string, log hclog.Logger, ssh sshhost.Options) (*session, error) {
	// Beside a pipe, or standard input, there is no place for a journal.
	info, err := os.Stat(file)
	if journal == "" && (file == inputfile.Stdin || err == nil && !info.Mode().IsRegular() && !info.IsDir()) {
		return nil, fmt.Errorf("the spec %s is no file that lies in a folder, so the journal has no place beside it: name one with --journal", file)
	}
	spec, err := readSpec(file)
	if err != nil {
		return nil, err
	}
	if journal == "" {
		journal = journalBeside(file)
	}
	if err := checkJournal(file, journal); err != nil {
		return nil, err
	}
	pool := sshhost.NewPool(ssh)
	return &session{
		spec: spec, file: file, journal: journal, log: log, pool: pool,
		world: phases.NewWorld(spec, hosts{pool}),
	}, nil
}

// checkJournal refuses a journal that cannot be one, before anything calls a file
// that is something else a damaged journal.
func checkJournal(spec, journal string) error {
	if sameFile(spec, journal) {
		return fmt.Errorf("the spec and the journal are the same file, %s: name another one with --journal, or leave it out for %s", journal, journalBeside(spec))
	}
	for _, name := range []string{journal, ledTo(journal)} {
		if of := companions.FindStringSubmatch(filepath.Base(name)); of != nil {
			return fmt.Errorf("the journal %s has the name of a file that is kept beside the journal %s.journal: name another one with --journal", journal, filepath.Join(filepath.Dir(name), of[1]))
		}
	}
	return state.CheckPlace(journal)
}

// companions are what this program keeps beside a journal.
var companions = regexp.MustCompile(`^(.*?)(?:\.journal(?:\.log(?:\.[0-9]+)?|\.lock-holder|\.backups)|\.rehearsal\.json)$`)

// journalBeside is where the journal of a spec is that nobody has named.
func journalBeside(spec string) string {
	return strings.TrimSuffix(spec, filepath.Ext(spec)) + ".journal"
}

// close gives back the connections. What it could report, the commands
// before it have reported.
func (s *session) close() {
	_ = s.world.Close()
	_ = s.pool.Close()
}

func (s *session) openJournal() (*state.Journal, error) {
	return state.Open(s.journal, state.Options{Tool: version})
}

func (s *session) readJournal() (*state.Journal, error) {
	return state.OpenReadOnly(s.journal, state.Options{Tool: version})
}

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

// phasesFor picks the phases that --phase names; 0 means all.
func phasesFor(number int, s phases.Strategy) ([]phases.Phase, error) {
	all := allPhases(s)
	if number == 0 {
		return all, nil
	}
	if number < 1 || number > len(all) {
		return nil, fmt.Errorf("--phase %d: there are the phases 1 to %d", number, len(all))
	}
	return all[number-1 : number], nil
}

func phaseFlag() cli.Flag {
	return &cli.IntFlag{Name: "phase", Aliases: []string{"p"}, DefaultText: "all", Usage: "only phase `N`: 1 load balancer, 2 etcd, 3 control plane",
		Action: func(_ *cli.Context, n int) error {
			_, err := phasesFor(n, phases.Overlap)
			if n == 0 {
				err = fmt.Errorf("--phase 0: there are the phases 1 to %d", len(allPhases(phases.Overlap)))
			}
			return err
		}}
}

func logger(c *cli.Context) (hclog.Logger, error) {
	name := common(c, flagLog)
	if name == "" {
		return hclog.NewNullLogger(), nil
	}
	level := hclog.LevelFromString(name)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("--%s %s: write one of trace, debug, info, warn, error", flagLog, name)
	}
	return hclog.New(&hclog.LoggerOptions{Name: "migrate", Level: level, Output: c.App.ErrWriter, JSONFormat: !show.IsTerminal(c.App.ErrWriter)}), nil
}
