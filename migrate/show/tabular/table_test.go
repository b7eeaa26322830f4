package tabular

import (
	"strings"
	"testing"

	"hamigrate/migrate/show"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// TestTablesOnNarrowTerminals: a table that does not fit is a list, in which no
// line is broken by the terminal and nothing is lost.
func TestTablesOnNarrowTerminals(t *testing.T) {
	t.Parallel()
	row := table.Row{1, show.Paint(true, show.Red, "✗"), "Install nginx", "lb1", "failed", "", "nginx -t said that no configuration of this host is one that it takes"}
	render := func(columns int) string {
		var b strings.Builder
		tab := NewIn(&b, columns, table.Row{"phase", "", "step", "on", "journal", "when (UTC)", "true now"})
		tab.Widths(table.ColumnConfig{Number: 7, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft})
		tab.Add(row...)
		tab.Add(2, "", "Another", "e1", "", "", "")
		tab.Render()
		return b.String()
	}
	for _, columns := range []int{0, 200} {
		if out := render(columns); !strings.Contains(out, "STEP") || strings.Contains(out, "step:") {
			t.Errorf("at %d columns it is no table:\n%s", columns, out)
		}
	}
	for _, columns := range []int{1, 40, 80} {
		out := render(columns)
		for _, want := range []string{"\x1b[31m✗\x1b[0m phase: 1\n", "  phase: 2\n", "step: ", "nginx", "on: lb1\n", "journal: failed\n", "true now: nginx", "Another"} {
			if !strings.Contains(out, want) {
				t.Errorf("at %d columns there is no %q:\n%s", columns, want, out)
			}
		}
		for line := range strings.Lines(out) {
			if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); columns >= 40 && n > columns {
				t.Errorf("at %d columns a line has %d: %q", columns, n, line)
			}
		}
	}
	if words := strings.Join(strings.Fields(render(40)), " "); !strings.Contains(words, "nginx -t said that no configuration of this host is one that it takes") {
		t.Errorf("something is lost: %s", words)
	}
}
