package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/aymanbagabas/go-udiff"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name:   "plan",
		Before: noWords,
		Usage:  "look at the cluster and show what run would do; change nothing",
		Description: "Every step is checked against the cluster as it is: what is done already, what would\n" +
			"change, as diffs, and how long the API would be away. Secrets are shown as digests.\n" +
			"The checks of `migrate preflight` that only look are done as well: what would keep a run\n" +
			"from beginning a phase is shown below its steps.\n" +
			"--out saves the plan: `migrate run FILE` then does that, or refuses and shows what is\n" +
			"different by then.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json", "yaml"),
			ignoreFlag("ignore-preflight"),
			&cli.StringFlag{Name: "out", Usage: "save the plan to `FILE`, for `migrate run FILE`"},
			&cli.StringSliceFlag{Name: "limit", Usage: "show only what is done on `HOST`; cluster is the cluster's objects"},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 when there is something to do, or with --rollback to undo"},
			&cli.BoolFlag{Name: "rollback", Usage: "show what rollback would undo"}),
		Action: looking(planAction),
	}
}

// phasePlan is one phase of a plan in JSON and YAML.
type phasePlan struct {
	Phase   int             `json:"phase"`
	Name    string          `json:"name"`
	Title   string          `json:"title"`
	Entries []migrate.Entry `json:"steps"`
	// Preflight are the checks of `migrate preflight` that look and that would
	// keep a run from beginning this phase.
	Preflight []preflightResult `json:"preflight,omitempty"`
}

func planAction(c *cli.Context) error {
	limit := c.StringSlice("limit")
	if c.String("out") != "" && (c.Bool("rollback") || len(limit) > 0) {
		return errors.New("--out saves a whole plan: leave --limit and --rollback away")
	}
	if c.Bool("rollback") && len(limit) > 0 {
		return errors.New("--limit shows a part of the way forward: leave it away with --rollback, which shows what is undone in its order")
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if c.Bool("rollback") {
		return planBack(c, s)
	}
	tellProbeFits(c)
	list, err := phasesFor(c.Int("phase"), strategyOf(c))
	if err != nil {
		return err
	}
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	known, err := lastRehearsal(s.journal)
	if err != nil {
		return err
	}
	plans, err := planAndPreflight(c, s, list, j)
	if err != nil {
		return err
	}
	whole := plans
	if plans, err = limitTo(plans, limit); err != nil {
		return err
	}
	id, kubernetes, err := planIdentity(c.Context, s)
	if err != nil {
		return err
	}
	expect(plans, known)
	if err := printPlan(c.App.Writer, plans, c.String("output"), len(limit) == 0 && c.Int("phase") == 0); err != nil {
		return err
	}
	if c.String("output") == "text" && pending(plans) > 0 {
		show.Fprintln(c.App.Writer, known.say(rehearsalFlagsOf(c, s), s.spec, list, kubernetes))
	}
	if err := planBlocked(c.Context, s, list, plans, j); err != nil {
		return err
	}
	if file := c.String("out"); file != "" {
		if err := writePlan(file, ownFilesOf(s), newSavedPlan(s, id, kubernetes, strategyOf(c), c.Int("phase"), list, whole)); err != nil {
			return err
		}
		show.Fprintf(c.App.ErrWriter, "Saved: %s. `migrate run%s %s` does this, and nothing else.\n", file, flagsGiven(c), remote.Quote(file))
	}
	if c.Bool("detailed-exitcode") && pending(plans) > 0 {
		return errChangesPending
	}
	return nil
}

// limitTo leaves the steps on some hosts; with no hosts, all.
func limitTo(plans []phasePlan, hosts []string) ([]phasePlan, error) {
	if len(hosts) == 0 {
		return plans, nil
	}
	var known []string
	out := make([]phasePlan, len(plans))
	for i, p := range plans {
		out[i] = p
		out[i].Entries = []migrate.Entry{}
		for _, e := range p.Entries {
			if !slices.Contains(known, e.Target) {
				known = append(known, e.Target)
			}
			if slices.Contains(hosts, e.Target) {
				out[i].Entries = append(out[i].Entries, e)
			}
		}
	}
	for _, h := range hosts {
		if !slices.Contains(known, h) {
			return nil, fmt.Errorf("--limit %s: no step is on it; there are steps on %s", h, strings.Join(known, ", "))
		}
	}
	return out, nil
}

// expect writes how long each step took when it was rehearsed.
func expect(plans []phasePlan, known *rehearsal) {
	for _, p := range plans {
		for i := range p.Entries {
			if p.Entries[i].Finding.Verdict != migrate.Satisfied {
				p.Entries[i].ExpectedSeconds = known.expected(p.Entries[i].Step).Seconds()
			}
		}
	}
}

// planBack shows the way back.
func planBack(c *cli.Context, s *session) error {
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	all, err := phasesAsBegun(j, strategyOf(c), c.IsSet("strategy"))
	if err != nil {
		return err
	}
	list := []migrate.RollbackEntry{}
	for _, p := range slices.Backward(all) {
		if n := c.Int("phase"); n != 0 && n != p.Number {
			continue
		}
		entries, err := migrate.RollbackPlan(c.Context, s.world, p, j)
		if err != nil {
			return err
		}
		if err := migrate.Look(c.Context, s.world, p, entries); err != nil {
			return err
		}
		list = append(list, entries...)
	}
	if err := writeBack(c.App.Writer, list, c.String("output")); err != nil || !c.Bool("detailed-exitcode") {
		return err
	}
	return backStatus(list)
}

func writeBack(w io.Writer, list []migrate.RollbackEntry, format string) error {
	switch format {
	case "json":
		return show.WriteJSON(w, list)
	case "yaml":
		return writeYAML(w, list)
	}
	return printRollback(w, list)
}

// writeYAML prints a plan for programs. The YAML library takes no control
// characters in the JSON that it begins with, and a host's text may have them.
func writeYAML(w io.Writer, plan any) error {
	text, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	data, err := yaml.JSONToYAML(show.JSON(text))
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// backStatus is the way back for --detailed-exitcode: pending, blocked as the
// rollback would be, or nil where nothing is to be undone.
func backStatus(list []migrate.RollbackEntry) error {
	for _, e := range list {
		if e.Blocked != "" {
			return &migrate.BlockedError{Where: migrate.Where{Phase: e.Phase, Step: e.Step, Target: e.Target}, Reason: e.Blocked, Remedy: "nothing was changed"}
		}
	}
	if migrate.Standing(list) {
		return errChangesPending
	}
	return nil
}

func makePlan(ctx context.Context, s *session, list []phases.Phase, j *state.Journal) ([]phasePlan, error) {
	if err := phases.Fits(ctx, s.world.View(migrate.ClusterTarget)); err != nil {
		return nil, err
	}
	var plans []phasePlan
	for _, p := range list {
		entries, err := migrate.Plan(ctx, s.world, p, j)
		if err != nil {
			return nil, err
		}
		plans = append(plans, phasePlan{Phase: p.Number, Name: p.Name, Title: p.Title, Entries: entries})
	}
	return plans, nil
}

func pending(plans []phasePlan) int {
	n := 0
	for _, p := range plans {
		for _, e := range p.Entries {
			if e.Finding.Verdict != migrate.Satisfied {
				n++
			}
		}
	}
	return n
}

// printPlan prints a plan; whole says that no phase and no step is left out.
func printPlan(w io.Writer, plans []phasePlan, format string, whole bool) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(plans)
	case "yaml":
		return writeYAML(w, plans)
	}
	colour := show.WantColour(w)
	for _, p := range plans {
		if len(p.Entries) > 0 {
			printPhase(w, p, colour)
		}
	}
	for _, p := range plans {
		for _, e := range p.Entries {
			printChanges(w, e.Finding.Changes, colour)
		}
	}
	_, err := show.Fprintln(w, planSum(plans, whole))
	return err
}

// printPhase prints the table of one phase.
func printPhase(w io.Writer, p phasePlan, colour bool) {
	show.Fprintf(w, "%s\n", show.Paint(colour, show.Bold, fmt.Sprintf("Phase %d: %s", p.Phase, p.Title)))
	rehearsed := slices.ContainsFunc(p.Entries, func(e migrate.Entry) bool { return e.ExpectedSeconds > 0 })
	header := []any{"", "step", "on", "what is true now", "API away", "undo"}
	if rehearsed {
		header = append(header, "expected")
	}
	t := tabular.New(w, header...)
	t.Widths(table.ColumnConfig{Number: 4, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft})
	for _, e := range p.Entries {
		away := "0 s"
		if e.Finding.Verdict != migrate.Satisfied && e.Outage > 0 {
			away = fmt.Sprintf("≤ %.0f s", e.Outage.Seconds())
		}
		row := []any{sign(e.Finding.Verdict, colour), e.Title, e.Target, e.Finding.Reason, away, e.Undo}
		if rehearsed {
			row = append(row, expectedText(e.ExpectedSeconds))
		}
		t.Add(row...)
	}
	t.Render()
	for _, r := range p.Preflight {
		show.Fprintf(w, "%2d  %s\n", r.Number, r.Check)
		printBad(w, r, colour)
	}
	show.Fprintln(w)
}

func expectedText(s float64) string {
	if s == 0 {
		return ""
	}
	return show.Seconds(time.Duration(s * float64(time.Second)))
}

// planSum is the plan in one line.
func planSum(plans []phasePlan, whole bool) string {
	n := pending(plans)
	switch {
	case n == 0 && !whole:
		return "Plan: nothing to do in what is shown."
	case n == 0:
		return "Plan: nothing to do; the cluster is as the spec wants it."
	}
	var outage time.Duration
	var expected float64
	unknown, targets := 0, map[string]bool{}
	for _, p := range plans {
		outage += outageOf(p.Entries)
		for _, e := range p.Entries {
			if e.Finding.Verdict == migrate.Satisfied {
				continue
			}
			targets[e.Target] = true
			expected += e.ExpectedSeconds
			if e.ExpectedSeconds == 0 {
				unknown++
			}
		}
	}
	took := ""
	if expected > 0 {
		took = "; when rehearsed they took " + expectedText(expected)
		if unknown > 0 {
			took += fmt.Sprintf(" without %d of them", unknown)
		}
	}
	return fmt.Sprintf("Plan: %d steps to do on %d targets; expected time without an API: %.0f s%s. Nothing was changed.", n, len(targets), outage.Seconds(), took)
}

// sign marks a row: done, to do, blocked.
func sign(v migrate.Verdict, colour bool) show.Own {
	switch v {
	case migrate.Satisfied:
		return show.Paint(colour, show.Green, "✓")
	case migrate.Blocked:
		return show.Paint(colour, show.Red, "✗")
	}
	return show.Paint(colour, show.Yellow, "~")
}

func printChanges(w io.Writer, changes []migrate.Change, colour bool) {
	for _, ch := range changes {
		diff := udiff.Unified("a/"+ch.Object, "b/"+ch.Object, ch.Before, ch.After)
		for line := range strings.Lines(diff) {
			// Each begins with a sign of the diff's, so none passes for a line of ours.
			line = strings.TrimSuffix(line, "\n")
			switch {
			case strings.HasPrefix(line, "+"):
				show.Fprintln(w, show.Paint(colour, show.Green, line))
			case strings.HasPrefix(line, "-"):
				show.Fprintln(w, show.Paint(colour, show.Red, line))
			default:
				show.Fprintln(w, line)
			}
		}
		show.Fprintln(w)
	}
}
