package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

func rollbackCommand() *cli.Command {
	return &cli.Command{
		Name:   "rollback",
		Before: noWords,
		Usage:  "take a phase back: what the journal says was changed, newest first",
		Description: "Undoes the steps of a phase, each by its own way back, with the same checks between them\n" +
			"as run has, while the API is probed. What was there before the migration is left alone. From\n" +
			"the middle of a phase as well as from its end; the last phase first. Without --phase it goes\n" +
			"back phase by phase and asks before each. `migrate plan --rollback` shows it beforehand.\n\n" + exitStatus,
		Flags: append(append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json"),
			waitBackendFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask before each phase"}),
			measuringFlags(2, 0)...),
		Action: rollbackAction,
	}
}

func rollbackAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "rollback")
	defer done()
	bar := newProgress(c.App.ErrWriter)
	s.tellWaits(bar.waits)
	s.world.UseAsk(bar.say, c.Duration("wait-backend"))
	var events migrate.Events = bar
	if c.String("output") == "json" {
		events = jsonEvents{json.NewEncoder(c.App.Writer)}
	}
	confirm := func(phases.Phase) error { return nil }
	if !c.Bool("yes") {
		confirm = func(p phases.Phase) error { return askForPhase(ctx, c, stop, s.spec.Name, p) }
	}
	return rollBack(ctx, s, c.Int("phase"), migration{
		command: "rollback", strategy: strategyOf(c), chosen: c.IsSet("strategy"), events: events, stop: stop, confirm: confirm, measuring: measuringOf(c, bar.say), bar: bar,
		closing: &closing{w: c.App.ErrWriter, s: s, command: "rollback", flags: flagsGiven(c), how: howGiven(c), phase: c.Int("phase")},
	})
}

// rollBack takes back the phase of that number, or with 0 all of them.
func rollBack(ctx context.Context, s *session, number int, m migration) (err error) {
	if _, err := os.Stat(s.journal); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no journal %s, and only it knows what was there before: name it with --journal, or let `migrate adopt` rebuild it from the cluster", s.journal)
	}
	j, err := s.openJournal()
	if err != nil {
		return m.closing.say(ctx, nil, err)
	}
	defer j.Close()
	m.closing.begin(j)
	defer func() { err = m.closing.say(ctx, j, err) }()
	defer func() { err = errors.Join(err, runrecord.KeepHostKeys(j, s.pool.AcceptedHostKeys())) }()
	if any, err := anythingTouched(j); err != nil {
		return err
	} else if !any {
		return m.nothingBack(j, number)
	}
	if err := awaitAPI(ctx, s, m.stop, m.measuring.tell); err != nil {
		return err
	}
	if err := sameCluster(ctx, s, j); err != nil {
		return err
	}
	all, err := phasesAsBegun(j, m.strategy, m.chosen)
	if err != nil {
		return err
	}
	list, err := phasesBack(ctx, s, j, number, all)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return m.nothingBack(j, number)
	}
	changed, err := toBeTakenBack(ctx, s, j, list)
	if err != nil {
		return err
	}
	if err := mayChange(ctx, s, changed); err != nil {
		return err
	}
	w := &watched{migration: m, s: s, j: j}
	if w.hold, err = holdCluster(ctx, s, j, "migrate "+m.command, m.measuring.tell); err != nil {
		return err
	}
	defer w.hold.end(ctx)
	defer func() { err = errors.Join(err, w.end(ctx)) }()
	for _, p := range list {
		if inPlace(p) {
			w.measuring.most = max(w.measuring.most, inPlaceSlack)
		}
		if err := m.confirm(asBack(p)); err != nil {
			return err
		}
		if err := w.measureAnyway(ctx); err != nil {
			return err
		}
		if err := w.with(ctx, func(r migrate.Runner[phases.View, phases.Hands]) error { return r.Rollback(ctx, p) }); err != nil {
			if errors.Is(err, migrate.ErrStopped) {
				return fmt.Errorf("the way back was stopped: `migrate rollback --phase %d` goes on back, `migrate run` forward again: %w", p.Number, err)
			}
			return err
		}
	}
	return nil
}

var errNothingBack = errors.New("there is nothing to take back: by the journal, nothing that has a way back was changed")

// nothingBack ends a rollback that has nothing to do. Where the journal says
// that it was all taken back, which is how one ends that was killed after its
// last step and is begun again, that is well. Where nothing was ever changed it
// may be the wrong journal.
func (m migration) nothingBack(j *state.Journal, number int) error {
	for _, p := range allPhases(phases.Overlap) {
		if number != 0 && p.Number != number {
			continue
		}
		list, err := j.Records(p.Number)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(r state.Record) bool { return r.Status == state.Undone }) {
			m.measuring.tell("there is nothing to take back: by the journal, all that has a way back is taken back already")
			return nil
		}
	}
	return errNothingBack
}

// anythingTouched asks the journal alone, before any host is connected to.
func anythingTouched(j *state.Journal) (bool, error) {
	for _, p := range allPhases(phases.Overlap) {
		list, err := j.Records(p.Number)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list, func(r state.Record) bool { return r.Status.Touched() }) {
			return true, nil
		}
	}
	return false, nil
}

// asBack words a phase for the question before its rollback.
func asBack(p phases.Phase) phases.Phase {
	p.Title, p.Why = "take back: "+p.Title, "What the journal says was changed is undone, newest first."
	return p
}

// sameCluster refuses a journal of another cluster.
func sameCluster(ctx context.Context, s *session, j *state.Journal) error {
	k, err := s.world.View(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	id, err := k.Identity(ctx)
	if err != nil {
		return err
	}
	return j.BindCluster(id)
}

// phasesBack lists those of all the phases that are to be taken back, the last
// one first. A phase on which a later one stands is refused.
func phasesBack(ctx context.Context, s *session, j *state.Journal, number int, all []phases.Phase) ([]phases.Phase, error) {
	var back []phases.Phase
	for _, p := range slices.Backward(all) {
		entries, err := migrate.RollbackPlan(ctx, s.world, p, j)
		if err != nil {
			return nil, err
		}
		standing := migrate.Standing(entries)
		switch {
		case number != 0 && p.Number > number && standing:
			return nil, &migrate.BlockedError{Where: migrate.Where{Phase: p.Number, Step: entries[0].Step, Target: entries[0].Target},
				Reason: fmt.Sprintf("phase %d stands on phase %d", p.Number, number), Remedy: fmt.Sprintf("first: `migrate rollback --phase %d`", p.Number)}
		case standing && (number == 0 || p.Number == number):
			back = append(back, p)
		}
	}
	return back, nil
}

// phasesAsBegun are the phases with the strategies they were begun with. Where
// it was asked for, one that was overlapped is taken back in place: what an
// overlap needs may not be there any more. The other way round there is no
// second API server that could be set up again.
func phasesAsBegun(j *state.Journal, asked phases.Strategy, chosen bool) ([]phases.Phase, error) {
	list := declaredPhases()
	for i, p := range list {
		begun, err := begunStrategy(j, p.Number)
		if err != nil {
			return nil, err
		}
		s := phases.Overlap
		switch {
		case begun == phases.InPlace && chosen && asked == phases.Overlap:
			return nil, fmt.Errorf("--strategy %s: phase %d was done with --strategy %s and can only be taken back so: leave the flag away", asked, p.Number, phases.InPlace)
		case begun == phases.InPlace:
			s = phases.InPlace
		case chosen && asked == phases.InPlace:
			s = phases.BackInPlace
		}
		list[i] = p.For(s.Choice())
	}
	return list, nil
}

// begunStrategy is the strategy that a phase was begun with, "" where it was not
// begun or has one form only.
func begunStrategy(j *state.Journal, number int) (phases.Strategy, error) {
	known, err := j.Phase(number)
	if err != nil || known.Begun.IsZero() {
		return "", err
	}
	return phases.StrategyOf(declaredPhases()[number-1].Begun(known)), nil
}

// inPlace says whether a phase is the form of one that is overlapped otherwise.
func inPlace(p phases.Phase) bool { return phases.StrategyOf(p.Choice) == phases.InPlace }

// printRollback prints what a rollback would do.
func printRollback(w io.Writer, list []migrate.RollbackEntry) error {
	if len(list) == 0 {
		_, err := show.Fprintln(w, "Plan: nothing to take back; by the journal, nothing was changed.")
		return err
	}
	t := tabular.New(w, "phase", "step", "on", "what is true now", "the way back")
	t.Widths(table.ColumnConfig{Number: 4, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft})
	undone, blocked := 0, 0
	for _, e := range list {
		what := "is undone"
		switch {
		case e.Blocked != "":
			what = "not possible: " + e.Blocked
			blocked++
		case e.Stays != "":
			what = "stays: " + e.Stays
		default:
			undone++
		}
		now := e.Now
		if e.Recorded != state.Verified {
			now = strings.TrimPrefix(now+"; by the journal "+string(e.Recorded), "; ")
		}
		t.Add(e.Phase, e.Title, e.Target, now, what)
	}
	t.Render()
	for _, e := range list {
		if e.Stays == "" && e.Blocked == "" {
			printChanges(w, e.Changes, show.WantColour(w))
		}
	}
	_, err := show.Fprintf(w, "Plan: %d steps to undo, newest first; %d have no way back yet. Nothing was changed.\n", undone, blocked)
	return err
}
