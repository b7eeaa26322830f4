package console

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"
)

// WriteBack writes what a rollback would undo, as text, json or yaml.
func WriteBack(w io.Writer, list []migrate.RollbackEntry, format string) error {
	switch format {
	case "json":
		return show.WriteJSON(w, list)
	case "yaml":
		return writeYAML(w, list)
	}
	return PrintRollback(w, list)
}

// PrintRollback prints what a rollback would do.
func PrintRollback(w io.Writer, list []migrate.RollbackEntry) error {
	if len(list) == 0 {
		_, err := show.Fprintln(w, "Plan: nothing to undo; by the journal, nothing was changed.")
		return err
	}
	t := tabular.New(w, "phase", "step", "on", "what is true now", "undo")
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
	_, err := show.Fprintf(w, "Plan: %d steps to undo, newest first; %d cannot be undone yet. Nothing was changed.\n", undone, blocked)
	return err
}
