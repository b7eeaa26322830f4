package console

import (
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"
)

// PrintStatus prints the steps, and the next command. Offline, the cluster was not asked.
func PrintStatus(w io.Writer, s *run.Session, rows []run.StatusRow, offline bool) error {
	if len(rows) == 0 {
		_, err := show.Fprintf(w, "Nothing was begun yet. Next: %s\n", s.Next("plan"))
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
	if offline {
		_, err := show.Fprintf(w, "\nOf the %d steps that were begun, %d are done. What else is left, the cluster tells: %s\n", len(rows), done, s.Next("status"))
		return err
	}
	next := "Next: " + s.Next("run")
	if done == len(rows) {
		next = "Nothing is left to do."
	}
	_, err := show.Fprintf(w, "\n%d of %d steps are done. %s\n", done, len(rows), next)
	return err
}
