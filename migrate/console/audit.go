package console

import (
	"fmt"
	"io"
	"slices"

	"hamigrate/migrate/show"
	"hamigrate/phases/audit"
)

// mostPlaces is how many objects, files and hosts of a point are listed for a
// person; JSON has all of them.
const mostPlaces = 12

// PrintAudit prints each point, what its loss would do and who removes it, and at the
// end whether high availability is worth its price here.
func PrintAudit(w io.Writer, r audit.Report) error {
	colour := show.WantColour(w)
	for _, x := range r.Results {
		show.Fprintf(w, "%s %2d  %-18s  %s: %s\n", auditMark(x.State, colour), x.Number, x.Point, x.Title, x.Seen)
		if x.State == audit.Redundant {
			continue
		}
		printPlaces(w, x)
		show.Fprintf(w, "       its loss:    %s\n       for:         %s\n       removed by:  %s\n", x.Loss, x.Lasts, removal(x))
		if x.Otherwise != "" {
			show.Fprintf(w, "       what does:   %s\n", x.Otherwise)
		}
	}
	for _, u := range r.Unread {
		show.Fprintf(w, "%s not read: %s\n", auditMark(audit.Unknown, colour), u)
	}
	removed, left := 0, 0
	for _, x := range r.Results {
		switch {
		case x.State != audit.Single:
		case x.RemovedBy != "no" && len(x.Remains) == 0:
			removed++
		default:
			left++
		}
	}
	show.Fprintf(w, "\n%d points in %.1f s: %d single, %d added by the migration, %d redundant, %d unknown. Of the single ones the migration removes %d; %d stay, whole or in part.\n",
		len(r.Results), r.Seconds, r.Count(audit.Single), r.Count(audit.Adds), r.Count(audit.Redundant), r.Count(audit.Unknown), removed, left)
	_, err := show.Fprintf(w, "\nHigh availability %s here:\n", r.Need.Advice)
	for _, reason := range r.Need.Reasons {
		_, err = show.Fprintf(w, "  - %s\n", reason)
	}
	return err
}

// printPlaces lists objects, files and hosts, and which of them stay.
func printPlaces(w io.Writer, x audit.Result) {
	for i, p := range x.Where {
		if i == mostPlaces {
			show.Fprintf(w, "       · and %d more: -o json lists all\n", len(x.Where)-i)
			return
		}
		stays := ""
		if x.RemovedBy != "no" && slices.Contains(x.Remains, p) {
			stays = " (the migration leaves it)"
		}
		show.Fprintf(w, "       · %s%s\n", p, stays)
	}
}

// removal is what the migration does about a point.
func removal(x audit.Result) string {
	switch {
	case x.State == audit.Adds:
		return "nothing: the migration is what adds it"
	case x.RemovedBy == "no":
		return "not by this migration"
	case len(x.Remains) > 0:
		return fmt.Sprintf("%s, but for the %d that it leaves", x.RemovedBy, len(x.Remains))
	}
	return x.RemovedBy
}

func auditMark(s audit.State, colour bool) show.Own {
	switch s {
	case audit.Redundant:
		return show.Paint(colour, show.Green, "✓")
	case audit.Adds:
		return show.Paint(colour, show.Yellow, "+")
	case audit.Unknown:
		return show.Paint(colour, show.Yellow, "?")
	case audit.Single:
	}
	return show.Paint(colour, show.Red, "1")
}
