package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
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
			"change, as diffs, and how long the API would be away. Secrets are shown as digests.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json", "yaml"),
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 when there is something to do"},
			&cli.BoolFlag{Name: "rollback", Usage: "show what `migrate rollback` would undo"}),
		Action: planAction,
	}
}

// phasePlan is one phase of a plan in JSON and YAML.
type phasePlan struct {
	Phase   int             `json:"phase"`
	Name    string          `json:"name"`
	Title   string          `json:"title"`
	Entries []migrate.Entry `json:"steps"`
}

func planAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if c.Bool("rollback") {
		return planBack(c, s)
	}
	list, err := phasesFor(c.Int("phase"), strategyOf(c))
	if err != nil {
		return err
	}
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	plans, err := makePlan(c, s, list, j)
	if err != nil {
		return err
	}
	if err := printPlan(c.App.Writer, plans, c.String("output")); err != nil {
		return err
	}
	for i, p := range plans {
		if blocked := blockedIn(p.Entries); blocked != nil {
			return withWayOut(c.Context, s, j, list[i], blocked)
		}
	}
	if c.Bool("detailed-exitcode") && pending(plans) > 0 {
		return errChangesPending
	}
	return nil
}

// planBack shows the way back.
func planBack(c *cli.Context, s *session) error {
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	list := []migrate.RollbackEntry{}
	for _, p := range slices.Backward(phasesAsBegun(j)) {
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
	switch c.String("output") {
	case "json":
		return writeReport(c.App.Writer, list)
	case "yaml":
		data, err := yaml.Marshal(list)
		if err != nil {
			return fmt.Errorf("writing the plan: %w", err)
		}
		_, err = c.App.Writer.Write(data)
		return err
	}
	return printRollback(c.App.Writer, list)
}

func makePlan(c *cli.Context, s *session, list []phases.Phase, j *state.Journal) ([]phasePlan, error) {
	if err := phases.Fits(c.Context, s.world.View(migrate.ClusterTarget)); err != nil {
		return nil, err
	}
	var plans []phasePlan
	for _, p := range list {
		entries, err := migrate.Plan(c.Context, s.world, p, j)
		if err != nil {
			return nil, err
		}
		plans = append(plans, phasePlan{p.Number, p.Name, p.Title, entries})
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

func printPlan(w io.Writer, plans []phasePlan, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(plans)
	case "yaml":
		data, err := yaml.Marshal(plans)
		if err != nil {
			return fmt.Errorf("writing the plan: %w", err)
		}
		_, err = w.Write(data)
		return err
	}
	colour := wantColour(w)
	var outage time.Duration
	targets := map[string]bool{}
	for _, p := range plans {
		fmt.Fprintf(w, "%s\n", paint(colour, bold, fmt.Sprintf("Phase %d: %s", p.Phase, p.Title)))
		t := table.NewWriter()
		t.SetOutputMirror(w)
		t.SetStyle(table.StyleLight)
		t.Style().Options.SeparateColumns = false
		t.Style().Options.DrawBorder = false
		t.AppendHeader(table.Row{"", "step", "on", "what is true now", "API away", "undo"})
		t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft}})
		for _, e := range p.Entries {
			away := "0 s"
			if e.Finding.Verdict != migrate.Satisfied {
				outage += e.Outage
				targets[e.Target] = true
				if e.Outage > 0 {
					away = fmt.Sprintf("≤ %.0f s", e.Outage.Seconds())
				}
			}
			t.AppendRow(table.Row{sign(e.Finding.Verdict, colour), e.Title, e.Target, e.Finding.Reason, away, e.Undo})
		}
		t.Render()
		fmt.Fprintln(w)
	}
	for _, p := range plans {
		for _, e := range p.Entries {
			printChanges(w, e.Finding.Changes, colour)
		}
	}
	n := pending(plans)
	if n == 0 {
		fmt.Fprintln(w, "Plan: nothing to do; the cluster is as the spec wants it.")
		return nil
	}
	_, err := fmt.Fprintf(w, "Plan: %d steps to do on %d targets; expected time without an API: %.0f s. Nothing was changed.\n", n, len(targets), outage.Seconds())
	return err
}

// sign marks a row: done, to do, blocked.
func sign(v migrate.Verdict, colour bool) string {
	switch v {
	case migrate.Satisfied:
		return paint(colour, green, "✓")
	case migrate.Blocked:
		return paint(colour, red, "✗")
	}
	return paint(colour, yellow, "~")
}

func printChanges(w io.Writer, changes []migrate.Change, colour bool) {
	for _, ch := range changes {
		diff := udiff.Unified("a/"+ch.Object, "b/"+ch.Object, ch.Before, ch.After)
		for line := range strings.Lines(diff) {
			switch {
			case strings.HasPrefix(line, "+"):
				line = paint(colour, green, strings.TrimSuffix(line, "\n")) + "\n"
			case strings.HasPrefix(line, "-"):
				line = paint(colour, red, strings.TrimSuffix(line, "\n")) + "\n"
			}
			fmt.Fprint(w, line)
		}
		fmt.Fprintln(w)
	}
}
