package console

import (
	"io"

	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"
)

// PrintAdoption prints what the rebuilt journal knows, and what can't be known any more.
func PrintAdoption(w io.Writer, s *run.Session, a run.Adoption) error {
	t := tabular.New(w, "phase", "step", "on", "now in the journal", "what can't be known")
	back, stays, left := 0, 0, 0
	for _, s := range a.Steps {
		t.Add(s.Phase, s.Title, s.Target, s.Status, s.Unknown)
		switch {
		case s.Unknown != "":
			stays++
		case s.Status.Touched():
			back++
		case s.Status == state.Pending:
			left++
		}
	}
	t.Render()
	show.Fprintf(w, "\n%s: %d steps were ours and have their previous state again; %d were ours and cannot be undone by command; %d are to be done.\nNot known any more:\n",
		a.Journal, back, stays, left)
	for _, u := range a.Unknown {
		show.Fprintf(w, "  - %s\n", u)
	}
	_, err := show.Fprintf(w, "Nothing was changed in the cluster. Next: %s\n", s.Next("status"))
	return err
}
