package console

import (
	"fmt"
	"io"

	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases/preflight"
)

// PrintPreflight prints a line for each check, and below it what is not fine.
func PrintPreflight(w io.Writer, r preflight.Report) error {
	colour := show.WantColour(w)
	done := 0
	for _, c := range preflight.Checks() {
		var of, bad []preflight.Result
		worst := preflight.OK
		for _, x := range r.Results {
			if x.Check != c.Name {
				continue
			}
			of = append(of, x)
			if x.Severity == preflight.OK {
				continue
			}
			bad = append(bad, x)
			switch {
			case x.Severity == preflight.Blocking && !x.Ignored:
				worst = preflight.Blocking
			case worst == preflight.OK:
				worst = preflight.Warning
			}
		}
		if len(of) == 0 {
			continue
		}
		done++
		show.Fprintf(w, "%s %2d  %-20s  %s%s\n", mark(worst, colour), c.Number, c.Name, c.Title, summary(of, bad))
		for _, x := range bad {
			PrintBad(w, x, colour)
		}
	}
	_, err := show.Fprintf(w, "\n%d checks on %d hosts in %.1f s: %d warnings, %d blocking.\n",
		done, len(r.Hosts), r.Seconds, r.Count(preflight.Warning), r.Count(preflight.Blocking))
	return err
}

// summary is what stands behind a check that found nothing.
func summary(of, bad []preflight.Result) string {
	switch {
	case len(bad) > 0:
		return ""
	case len(of) == 1:
		return ": " + of[0].Seen
	}
	return fmt.Sprintf(" (%d hosts)", len(of))
}

// PrintBad prints one result of a check that is not fine: what was seen, why it matters and what to do.
func PrintBad(w io.Writer, x preflight.Result, colour bool) {
	note := ""
	if x.Ignored {
		note = " (ignored)"
	}
	show.Fprintf(w, "      %s %s: %s%s\n          matters for phase %s: %s\n          do: %s\n",
		mark(x.Severity, colour), x.Host, x.Seen, note, run.Numbers(x.Phases), x.Why, remedyInLines(x.Remedy, x.Command, "          "))
}

func mark(s preflight.Severity, colour bool) show.Own {
	switch s {
	case preflight.Blocking:
		return show.Paint(colour, show.Red, "✗")
	case preflight.Warning:
		return show.Paint(colour, show.Yellow, "!")
	case preflight.OK:
	}
	return show.Paint(colour, show.Green, "✓")
}
