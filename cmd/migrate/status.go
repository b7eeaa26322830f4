package main

import (
	"encoding/json"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Before: noWords,
		Usage:  "show how far the migration is, by the cluster and by the journal; change nothing",
		Description: "One line a step and host: what the cluster shows now, what the journal says was done and\n" +
			"when. `--offline` leaves the cluster alone and shows the journal.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json"),
			&cli.BoolFlag{Name: "offline", Usage: "show the journal only"}),
		Action: looking(statusAction),
	}
}

// statusRow is one step on one target.
type statusRow struct {
	Phase    int             `json:"phase"`
	Step     string          `json:"step"`
	Target   string          `json:"target"`
	Journal  state.Status    `json:"journal"`
	Ended    time.Time       `json:"ended,omitzero"`
	Error    string          `json:"error,omitempty"`
	Cluster  migrate.Verdict `json:"cluster,omitempty"`
	TrueNow  string          `json:"trueNow,omitempty"`
	StepName string          `json:"title"`
}

func statusAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	list, err := phasesFor(c.Int("phase"), strategyOf(c))
	if err != nil {
		return err
	}
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	rows := []statusRow{}
	for _, p := range list {
		recorded := map[state.Key]state.Record{}
		records, err := j.Records(p.Number)
		if err != nil {
			return err
		}
		titles := map[string]string{}
		for _, step := range p.Steps {
			titles[string(step.ID)] = step.Title
		}
		for _, r := range records {
			recorded[r.Key] = r
			if c.Bool("offline") {
				rows = append(rows, statusRow{Phase: p.Number, Step: r.Step, Target: r.Target, StepName: titles[r.Step],
					Journal: r.Status, Ended: r.Ended, Error: r.Error})
			}
		}
		if c.Bool("offline") {
			continue
		}
		entries, err := migrate.Plan(c.Context, s.world, p, j)
		if err != nil {
			return err
		}
		for _, e := range entries {
			r := recorded[state.Key{Phase: p.Number, Step: string(e.Step), Target: e.Target}]
			rows = append(rows, statusRow{Phase: p.Number, Step: string(e.Step), Target: e.Target, StepName: e.Title,
				Journal: e.Recorded, Ended: r.Ended, Error: r.Error, Cluster: e.Finding.Verdict, TrueNow: e.Finding.Reason})
		}
	}
	if c.String("output") == "json" {
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	return printStatus(c, s, rows)
}

func printStatus(c *cli.Context, s *session, rows []statusRow) error {
	w := c.App.Writer
	if len(rows) == 0 {
		_, err := show.Fprintf(w, "Nothing was begun yet. Next: %s\n", s.next("plan"))
		return err
	}
	t := tabular.New(w, "phase", "", "step", "on", "journal", "when (UTC)", "true now")
	t.Widths(table.ColumnConfig{Number: 7, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft})
	done := 0
	for _, r := range rows {
		when := ""
		if !r.Ended.IsZero() {
			when = r.Ended.UTC().Format(time.DateTime)
		}
		mark, now := show.Own(""), r.TrueNow
		if r.Cluster != "" {
			mark = sign(r.Cluster, show.WantColour(w))
		}
		if r.Cluster == migrate.Satisfied || r.Cluster == "" && (r.Journal == state.Verified || r.Journal == state.Satisfied) {
			done++
		}
		if r.Error != "" && r.Journal == state.Failed {
			now = r.Error
		}
		t.Add(r.Phase, mark, r.StepName, r.Target, r.Journal, when, now)
	}
	t.Render()
	if c.Bool("offline") {
		_, err := show.Fprintf(w, "\nOf the %d steps that were begun, %d are done. What else is left, the cluster tells: %s\n", len(rows), done, s.next("status"))
		return err
	}
	next := "Next: " + s.next("run")
	if done == len(rows) {
		next = "Nothing is left to do."
	}
	_, err := show.Fprintf(w, "\n%d of %d steps are done. %s\n", done, len(rows), next)
	return err
}
