package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:   "run",
		Before: noWords,
		Usage:  "carry out the migration, or what is left of it",
		Description: "Runs the phases in order, one step on one host at a time. Each step is checked, written\n" +
			"to the journal with what was there before, applied and verified. After a stop of any\n" +
			"kind, run again: it goes on from what the journal and the cluster say.\n" +
			"Ctrl-C stops after the step at hand; Ctrl-C twice stops at once.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json"),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask before each phase"}),
		Action: runAction,
	}
}

func runAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	list, err := phasesFor(c.Int("phase"), strategyOf(c))
	if err != nil {
		return err
	}
	var events migrate.Events = newProgress(c.App.ErrWriter)
	if c.String("output") == "json" {
		events = jsonEvents{json.NewEncoder(c.App.Writer)}
	}
	confirm := func(phases.Phase) error { return nil }
	if !c.Bool("yes") {
		confirm = func(p phases.Phase) error { return askForPhase(c, s.spec.Name, p) }
	}
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter)
	defer done()
	return migratePhases(ctx, s, migration{strategy: strategyOf(c), phases: list, events: events, stop: stop, confirm: confirm})
}

// migration is what migratePhases carries out.
type migration struct {
	strategy phases.Strategy
	phases   []phases.Phase
	events   migrate.Events
	stop     <-chan struct{}
	confirm  func(phases.Phase) error
}

// about is what the report tells of a run besides its steps.
type about struct {
	Cluster           string    `json:"cluster"`
	KubernetesVersion string    `json:"kubernetesVersion"`
	Strategy          string    `json:"strategy"`
	StartedAt         time.Time `json:"startedAt"`
}

// migratePhases runs phases in order with the session's journal.
func migratePhases(ctx context.Context, s *session, m migration) error {
	j, err := s.openJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	if err := describeCluster(ctx, s, j, m.strategy); err != nil {
		return err
	}
	if err := phases.Fits(ctx, s.world.View(migrate.ClusterTarget)); err != nil {
		return err
	}
	for _, p := range m.phases {
		if err := unblocked(ctx, s, j, p); err != nil {
			return err
		}
		if err := earlierPhases(ctx, s, j, p, m.strategy); err != nil {
			return err
		}
		if err := m.confirm(p); err != nil {
			return err
		}
		runner := migrate.Runner[phases.View, phases.Hands]{
			Env: s.world, Journal: j, Spec: s.spec.Fingerprint, Events: m.events, Log: s.log, Stop: m.stop,
		}
		if err := runner.Run(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// unblocked refuses to begin a phase in which a step is known to be blocked:
// better now, with nothing changed, than in its middle.
func unblocked(ctx context.Context, s *session, j *state.Journal, p phases.Phase) error {
	known, err := j.Phase(p.Number)
	if err != nil || !known.Begun.IsZero() {
		return err
	}
	entries, err := migrate.Plan(ctx, s.world, p, j)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Finding.Verdict == migrate.Blocked {
			return &migrate.BlockedError{Where: migrate.Where{Phase: p.Number, Step: e.Step, Target: e.Target},
				Reason: e.Finding.Reason, Remedy: e.Finding.Remedy}
		}
	}
	return nil
}

// earlierPhases refuses a phase whose predecessors are not done: what the
// cluster shows counts, not what the journal says.
func earlierPhases(ctx context.Context, s *session, j *state.Journal, p phases.Phase, strategy phases.Strategy) error {
	for _, earlier := range allPhases(strategy)[:p.Number-1] {
		entries, err := migrate.Plan(ctx, s.world, earlier, j)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Finding.Verdict != migrate.Satisfied {
				return &migrate.BlockedError{
					Where:  migrate.Where{Phase: earlier.Number, Step: e.Step, Target: e.Target},
					Reason: fmt.Sprintf("phase %d needs phase %d, and there %s", p.Number, earlier.Number, e.Finding.Reason),
					Remedy: fmt.Sprintf("migrate run --phase %d", earlier.Number),
				}
			}
		}
	}
	return nil
}

// describeCluster ties the journal to the cluster and keeps what the report
// needs; a resumed run keeps its first start.
func describeCluster(ctx context.Context, s *session, j *state.Journal, strategy phases.Strategy) error {
	k, err := s.world.View(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	id, err := k.Identity(ctx)
	if err != nil {
		return err
	}
	if err := j.BindCluster(id); err != nil {
		return err
	}
	var a about
	if known, err := j.GetBlob("about", &a); err != nil || known {
		return err
	}
	v, err := k.Version()
	if err != nil {
		return err
	}
	return j.PutBlob("about", about{Cluster: s.spec.Name, KubernetesVersion: v, Strategy: string(strategy), StartedAt: time.Now().UTC()})
}

// askForPhase wants the cluster's name typed: the one mistake that no check
// finds is the wrong terminal.
func askForPhase(c *cli.Context, name string, p phases.Phase) error {
	if f, ok := c.App.Reader.(*os.File); ok && !isTerminal(f) {
		return errors.New("there is no terminal to ask on: look at `migrate plan` and add --yes")
	}
	fmt.Fprintf(c.App.ErrWriter, "Phase %d: %s. %s\nType the cluster's name (%s) to go on: ", p.Number, p.Title, p.Why, name)
	line, err := bufio.NewReader(c.App.Reader).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != name {
		return fmt.Errorf("that is not %q: phase %d was not begun; %w", name, p.Number, migrate.ErrStopped)
	}
	return nil
}

// stopOnSignals: the first Ctrl-C (or TERM) asks the run to stop after the
// step at hand, the second cancels it.
func stopOnSignals(ctx context.Context, w io.Writer) (_ context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopping, finished := make(chan struct{}), make(chan struct{})
	go func() {
		for asked := false; ; asked = true {
			select {
			case <-finished:
				return
			case <-signals:
			}
			if asked {
				fmt.Fprintln(w, "\nStopping now: the outcome of the step at hand will be unknown until `migrate run` looks at it again.")
				cancel()
				return
			}
			fmt.Fprintln(w, "\nStopping as soon as nothing is half done. Ctrl-C again stops at once.")
			close(stopping)
		}
	}()
	return ctx, stopping, func() { signal.Stop(signals); close(finished); cancel() }
}
