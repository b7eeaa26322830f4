package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/measure"
	"hamigrate/migrate/rehearsal"
	"hamigrate/migrate/run"
	"hamigrate/phases"

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
		Flags: append(append(commonFlags(), phaseFlag(), strategyFlag(), cliflags.Output("text", "json"),
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
	return cliflags.Time(cli.DurationFlag{Name: "wait-backend", Value: phases.AskedForAtMost,
		Usage: "with an external load balancer: wait for at most `TIME` until somebody has changed its backends as asked"})
}

// runAsked is what the command line wants done: which phases, how, and, with a saved
// plan, that nothing else is.
func runAsked(c *cli.Context) (run.Options, error) {
	o := run.Options{Command: "run", Strategy: strategyOf(c), Chosen: c.IsSet("strategy"), Phase: c.Int("phase"),
		Ignore: c.StringSlice("ignore-preflight"), NoBackup: c.Bool("no-backup"), How: howGiven(c)}
	var err error
	if o.PlanFile, err = planGiven(c.String("plan"), c.Args().Slice()); err != nil || o.PlanFile == "" {
		return o, err
	}
	if c.IsSet("strategy") || c.IsSet("phase") {
		return o, errors.New("a saved plan has its phases and its strategy: leave out --phase and --strategy, or save another plan")
	}
	p, err := run.ReadPlan(o.PlanFile)
	if err != nil {
		return o, err
	}
	o.Plan, o.Strategy, o.Chosen, o.Phase = &p, phases.Strategy(p.Strategy), true, p.Phase
	return o, nil
}

func runAction(c *cli.Context) error {
	o, err := runAsked(c)
	if err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := probeFits(c); err != nil {
		return err
	}
	if o.Plan != nil {
		if err := o.Plan.CheckSpec(o.PlanFile, s, o.List(s.Spec)); err != nil {
			return err
		}
	}
	known, err := rehearsal.Last(s.Journal)
	if err != nil {
		return err
	}
	o.Rehearsed = func(kubernetes string) string {
		return known.Say(rehearsalFlagsOf(c, s), rehearsal.Run{Spec: s.Spec, Phases: o.List(s.Spec), Kubernetes: kubernetes, Tool: version})
	}
	return migrating(c, s, o, known.Expected, run.Run)
}

// migrating runs phases, or takes them back, with the operator at this terminal.
func migrating(c *cli.Context, s *run.Session, o run.Options, expected func(migrate.StepID) time.Duration, do func(context.Context, *run.Session, run.Options) error) error {
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, o.Command)
	defer done()
	events, bar := eventsOf(c, s)
	bar.Expected = expected
	s.Access.UseAsk(bar.Say, c.Duration("wait-backend"))
	o.Events, o.Stop, o.Operator = events, stop, operatorAt(c, s, stop, bar.Say)
	how := measuringOf(c, bar.Say)
	how.Live = bar.SetLive
	o.Prober = measure.New(how)
	o.Listener = console.Ending{W: c.App.ErrWriter, Flags: s.Given}
	return do(ctx, s, o)
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
