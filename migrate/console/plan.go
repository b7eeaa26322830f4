package console

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"sigs.k8s.io/yaml"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
)

// PrintPlan prints a plan; whole says that no phase and no step is left out.
func PrintPlan(w io.Writer, plans []run.PhasePlan, format string, whole bool) error {
	switch format {
	case "json":
		return show.WriteJSON(w, plans)
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
func printPhase(w io.Writer, p run.PhasePlan, colour bool) {
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
		PrintBad(w, r, colour)
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
func planSum(plans []run.PhasePlan, whole bool) string {
	n := run.Pending(plans)
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
		outage += run.OutageOf(p.Entries)
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
		show.Diff(w, ch.Object, ch.Before, ch.After, colour)
	}
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
