package console

import (
	"fmt"
	"io"

	"hamigrate/migrate/show"
	"hamigrate/phases/verify"
)

// PrintVerify prints a line for each check, and below it what is not so.
func PrintVerify(w io.Writer, r verify.Report) error {
	colour := show.WantColour(w)
	done := 0
	for _, c := range verify.Checks() {
		var of, bad []verify.Result
		all, wrong := map[string]bool{}, false
		for _, x := range r.Results {
			if x.Check != c.Name {
				continue
			}
			of = append(of, x)
			all[x.Host] = true
			if !x.OK || x.Warning {
				bad = append(bad, x)
			}
			wrong = wrong || !x.OK
		}
		if len(of) == 0 {
			continue
		}
		done++
		rest := ""
		switch {
		case len(bad) > 0:
		case len(of) == 1:
			rest = ": " + of[0].Seen
		default:
			rest = fmt.Sprintf(" (%d hosts)", len(all))
		}
		show.Fprintf(w, "%s %2d  %-21s  %s%s\n", tick(!wrong, colour), c.Number, c.Name, c.Title, rest)
		for _, x := range bad {
			show.Fprintf(w, "      %s %s: %s\n          matters: %s\n          do: %s\n", markOf(x, colour), x.Host, x.Seen, x.Why, remedyInLines(x.Remedy, x.Command, "          "))
		}
	}
	end := "the cluster is what the migration left."
	if n := len(r.Bad()); n == 1 {
		end = "1 check fails."
	} else if n > 1 {
		end = fmt.Sprintf("%d checks fail.", n)
	}
	_, err := show.Fprintf(w, "\n%d checks on %d hosts in %.1f s: %s\n", done, len(r.Hosts), r.Seconds, end)
	return err
}

// markOf is the mark of one result that a person should see.
func markOf(x verify.Result, colour bool) show.Own {
	if x.Warning {
		return show.Paint(colour, show.Yellow, "!")
	}
	return tick(false, colour)
}

func tick(ok, colour bool) show.Own {
	if ok {
		return show.Paint(colour, show.Green, "✓")
	}
	return show.Paint(colour, show.Red, "✗")
}
