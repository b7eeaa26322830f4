package main

import (
	"fmt"
	"io"
	"slices"

	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases/audit"

	"github.com/urfave/cli/v2"
)

func auditCommand() *cli.Command {
	return &cli.Command{
		Name:      "audit",
		ArgsUsage: "[[USER@]HOST[:PORT]]",
		Usage:     "find every single point of failure of a cluster, and whether the migration removes it; change nothing",
		Description: "For each: what its loss would do and for how long, which phase removes it, and what would\n" +
			"where none does. One nginx in front is a point that the migration ADDS, and it is told as\n" +
			"such. The end says whether high availability is likely to be worth its price\n" +
			"here. Of use before a migration, after it, and without one. docs/audit.md explains each.\n" +
			"Of Secrets only names and keys are told, never what they hold. Where there is no spec yet,\n" +
			"name a control-plane node: migrate audit root@HOST. Flags stand before HOST.\n\n" + exitStatus,
		Flags:  append(commonFlags(), outputFlag("text", "json")),
		Action: looking(auditAction),
	}
}

func auditAction(c *cli.Context) error {
	s, err := auditSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := audit.Run(c.Context, s.Access)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, r)
	}
	return printAudit(c.App.Writer, r)
}

// auditSession goes by the spec, or by the one host that is named instead.
func auditSession(c *cli.Context) (*run.Session, error) {
	switch word := c.Args().First(); {
	case c.Args().Len() > 1:
		return nil, fmt.Errorf("`migrate audit` takes one host, and there is %q behind it: flags stand before the host, as in `migrate audit -o json root@HOST`", c.Args().Get(1))
	case word != "" && common(c, flagFile) != "":
		return nil, fmt.Errorf("`migrate audit` takes a spec or a host, and there are --%s %s and %s: leave one out", flagFile, common(c, flagFile), word)
	case word != "":
		return hostSession(c, word)
	}
	return openSession(c)
}

// mostPlaces is how many objects, files and hosts of a point are listed for a
// person; JSON has all of them.
const mostPlaces = 12

func printAudit(w io.Writer, r audit.Report) error {
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
