package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		ArgsUsage: "[PLAN]",
		Usage:     "carry out the migration, or what is left of it",
		Description: "Runs the phases in order, one step on one host at a time. Each step is checked, written\n" +
			"to the journal with what was there before, applied and verified. After a stop of any\n" +
			"kind, run again: it goes on from what the journal and the cluster say.\n" +
			"Before a phase begins, the checks of `migrate preflight` that only look are done.\n" +
			"With a PLAN that `migrate plan --out` saved, just that is done, with its phases and its\n" +
			"strategy. Where something else would be done now, nothing is: what is different is shown.\n" +
			"Ctrl-C ends it at once while nothing was changed; then it stops after the change at hand, without\n" +
			"the wait for it, and Ctrl-C twice stops at once.\n\n" + exitStatus,
		Flags: append(append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json"),
			ignoreFlag("ignore-preflight"),
			&cli.StringFlag{Name: "plan", Usage: "do what is in `FILE`, saved by `migrate plan --out`; the same as the argument"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask before each phase"},
			waitBackendFlag(),
			&cli.BoolFlag{Name: "no-backup", Usage: "begin phases 2 and 3 without a snapshot of etcd and an archive of /etc/kubernetes"}),
			measuringFlags(2, time.Minute)...),
		Action: runAction,
	}
}

// waitBackendFlag bounds the wait for what only a person can do.
func waitBackendFlag() cli.Flag {
	return timeFlag(cli.DurationFlag{Name: "wait-backend", Value: phases.AskedForAtMost,
		Usage: "with an external load balancer: wait for at most `TIME` until somebody has changed its backends as asked"})
}

// asked is what the command line wants done: which phases, how, and, with a
// saved plan, that nothing else is.
type asked struct {
	phases   []phases.Phase
	strategy phases.Strategy
	chosen   bool // the strategy is not just the default
	phase    int  // 0: all
	file     string
	plan     *savedPlan
}

func whatIsAsked(c *cli.Context) (asked, error) {
	a := asked{strategy: strategyOf(c), chosen: c.IsSet("strategy"), phase: c.Int("phase")}
	var err error
	if a.file, err = planGiven(c.String("plan"), c.Args().Slice()); err != nil {
		return a, err
	}
	if a.file != "" {
		if c.IsSet("strategy") || c.IsSet("phase") {
			return a, errors.New("a saved plan has its phases and its strategy: leave --phase and --strategy away, or save another plan")
		}
		p, err := readPlan(a.file)
		if err != nil {
			return a, err
		}
		a.plan, a.strategy, a.chosen, a.phase = &p, phases.Strategy(p.Strategy), true, p.Phase
	}
	a.phases, err = phasesFor(a.phase, a.strategy)
	return a, err
}

func runAction(c *cli.Context) error {
	a, err := whatIsAsked(c)
	if err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if err := probeFits(c); err != nil {
		return err
	}
	if a.plan != nil {
		if err := a.plan.fits(a.file, s, a.phases); err != nil {
			return err
		}
	}
	known, err := lastRehearsal(s.journal)
	if err != nil {
		return err
	}
	bar := newProgress(c.App.ErrWriter)
	bar.rehearsed = known
	s.tellWaits(bar.waits)
	s.world.UseAsk(bar.say, c.Duration("wait-backend"))
	var events migrate.Events = bar
	if c.String("output") == "json" {
		events = jsonEvents{json.NewEncoder(c.App.Writer)}
	}
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "run")
	defer done()
	confirm := func(phases.Phase) error { return nil }
	if !c.Bool("yes") {
		confirm = func(p phases.Phase) error { return askForPhase(ctx, c, stop, s.spec.Name, p) }
	}
	m := migration{strategy: a.strategy, chosen: a.chosen, phases: a.phases, events: events, stop: stop, confirm: confirm, measuring: measuringOf(c, bar.say), bar: bar, noBackup: c.Bool("no-backup"),
		command: "run", closing: &closing{w: c.App.ErrWriter, s: s, command: "run", flags: flagsGiven(c), how: howGiven(c), phase: c.Int("phase"), plan: a.file},
		ignore: c.StringSlice("ignore-preflight")}
	if !c.Bool("yes") && a.plan == nil {
		m.inPlace = func(b *migrate.BlockedError, away time.Duration) error { return askInPlace(ctx, c, stop, b, away) }
	}
	if a.plan != nil {
		m.meant = func(id, kubernetes string) error { return a.plan.fitsCluster(a.file, id, kubernetes) }
	}
	m.agreed = func(ctx context.Context, j *state.Journal, kubernetes string) error {
		bar.say(known.say(rehearsalFlagsOf(c, s), s.spec, a.phases, kubernetes))
		if a.plan == nil {
			return nil
		}
		return exactly(s, a.file, *a.plan, a.phases)(ctx, j)
	}
	return migratePhases(ctx, s, m)
}

// migration is what migratePhases carries out.
type migration struct {
	strategy phases.Strategy
	chosen   bool // the strategy was asked for: not the default
	phases   []phases.Phase
	events   migrate.Events
	stop     <-chan struct{}
	confirm  func(phases.Phase) error
	// inPlace asks whether to do without the overlap where that is blocked;
	// nil: nobody can be asked.
	inPlace   func(b *migrate.BlockedError, away time.Duration) error
	measuring measuring
	bar       *progress // gets the live figures; may be nil
	command   string    // for other operators: "run"
	closing   *closing  // tells how it ended, when not well; nil: whoever called does
	ignore    []string  // preflight checks that may block
	noBackup  bool
	// meant is asked, before anything is written here or there, whether this
	// is the cluster that was meant; nil: any one is that the journal takes.
	meant func(id, kubernetes string) error
	// agreed is asked, once the cluster is held and before anything is done,
	// whether this is what was agreed to; nil: nothing was.
	agreed func(ctx context.Context, j *state.Journal, kubernetes string) error
}

// describeCluster ties the journal to the cluster and keeps what the report
// needs; a resumed run keeps its first start.
func describeCluster(ctx context.Context, s *session, j *state.Journal, id, kubernetes string, strategy phases.Strategy) error {
	if err := j.BindCluster(id); err != nil {
		return err
	}
	if begun, err := described(j); err != nil || begun {
		return err
	}
	size, err := etcdSize(ctx, s.world.View(migrate.ClusterTarget))
	if err != nil {
		return err
	}
	return j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: s.spec.Name, KubernetesVersion: kubernetes, Strategy: string(strategy), StartedAt: time.Now().UTC(), EtcdBytes: size})
}

// described says whether the journal has what the report tells of a run. What
// a run wrote that was declined or refused before a phase began is no start.
func described(j *state.Journal) (bool, error) {
	var a runrecord.About
	if known, err := j.GetBlob(runrecord.AboutBlob, &a); err != nil || !known {
		return false, err
	}
	for _, p := range allPhases(phases.Overlap) {
		if known, err := j.Phase(p.Number); err != nil || !known.Begun.IsZero() {
			return true, err
		}
	}
	return false, nil
}

// etcdSize is how big the database is, in bytes; any member's will do.
func etcdSize(ctx context.Context, v phases.View) (int64, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return 0, err
	}
	for _, host := range e.Hosts() {
		s, err := e.Status(ctx, host)
		if err != nil {
			return 0, err
		}
		return s.DBSize, nil
	}
	return 0, errors.New("reading the size of etcd's database: no member answers")
}

// askForPhase wants the cluster's name typed: the one mistake that no check
// finds is the wrong terminal.
func askForPhase(ctx context.Context, c *cli.Context, stop <-chan struct{}, name string, p phases.Phase) error {
	if noTerminal(c) {
		return errors.New("there is no terminal to ask on: look at `migrate plan` and add --yes")
	}
	answer, err := question(ctx, c, stop, "Phase %d: %s. %s\nType the cluster's name (%s) to go on: ", p.Number, p.Title, p.Why, name)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("that is not %q: phase %d was not begun; %w", name, p.Number, migrate.ErrStopped)
	}
	return nil
}

// askInPlace wants the word typed: it is about an outage.
func askInPlace(ctx context.Context, c *cli.Context, stop <-chan struct{}, b *migrate.BlockedError, away time.Duration) error {
	if noTerminal(c) {
		return b
	}
	answer, err := question(ctx, c, stop, "No second API server can carry the clients meanwhile: %s.\nDone in place, the API will be away for up to %.0f s. Type in-place to do that: ", b.Reason, away.Seconds())
	if err != nil {
		return err
	}
	if answer != string(phases.InPlace) {
		return b
	}
	return nil
}
