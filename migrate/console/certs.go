package console

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"hamigrate/migrate"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases/certs"
)

// soon is when a certificate that nobody renews by itself is to be thought of.
const soon = 30 * 24 * time.Hour

// PrintCerts prints the certificates, what ends first in the first row, and which of them nobody
// renews. now is the time that their ends are compared with.
func PrintCerts(w io.Writer, s *run.Session, list certs.Inventory, now time.Time) error {
	colour := show.WantColour(w)
	t := tabular.New(w, "", "host", "certificate", "of", "until", "days", "renewed by", "how")
	t.Widths(
		table.ColumnConfig{Number: 3, WidthMax: 50, WidthMaxEnforcer: text.WrapHard}, table.ColumnConfig{Number: 4, WidthMax: 32, WidthMaxEnforcer: text.WrapSoft},
		table.ColumnConfig{Number: 8, WidthMax: 44, WidthMaxEnforcer: text.WrapSoft})
	for _, c := range list.Certificates {
		t.Add(certMark(c, now, colour), c.Host, c.File, c.Subject, c.Ends.Format(time.DateOnly), c.Days, c.RenewedBy, c.How)
	}
	t.Render()
	for _, u := range list.Unread {
		show.Fprintf(w, "%s %s was not read: %s\n", show.Paint(colour, show.Red, "✗"), u.Host, u.Why)
	}
	ours := 0
	var first *certs.Certificate
	for i, c := range list.Certificates {
		if c.RenewedBy == certs.Nobody && c.How == certs.RenewCommand {
			if ours++; first == nil {
				first = &list.Certificates[i]
			}
		}
	}
	due := list.Within(soon, now)
	show.Fprintf(w, "\n%d certificates, of which %d end within 30 days.\n", len(list.Certificates), len(due))
	if first == nil {
		_, err := show.Fprintln(w, "kubeadm and the kubelets renew all that end within years. That changes with phase 2.")
		return err
	}
	_, err := show.Fprintf(w, "%d are renewed by nobody but you, the first by %s: %s\n",
		ours, first.Ends.Format(time.DateOnly), s.Next(fmt.Sprintf("certs renew --within %dd", max(first.Days+1, 30))))
	return err
}

func certMark(c certs.Certificate, now time.Time, colour bool) show.Own {
	left := c.Ends.Sub(now)
	switch {
	case c.RenewedBy == certs.Unused:
		return "·"
	case left < 7*24*time.Hour:
		return show.Paint(colour, show.Red, "✗")
	case left < soon:
		return show.Paint(colour, show.Yellow, "!")
	}
	return show.Paint(colour, show.Green, "✓")
}

// PrintRenewal says what is true of each host, and whether anything is to be
// done. What blocks is an error: a renewal that can't be finished is not begun.
func PrintRenewal(w io.Writer, u run.UnderRenewal, entries []migrate.Entry) (need bool, err error) {
	t := tabular.New(w, "", "step", "on", "what is true now")
	n := 0
	for _, e := range entries {
		t.Add(sign(e.Finding.Verdict, show.WantColour(w)), e.Title, e.Target, e.Finding.Reason)
		switch e.Finding.Verdict {
		case migrate.Needed:
			n++
		case migrate.Blocked:
			err = errors.Join(err, &migrate.BlockedError{Where: migrate.Where{Phase: e.Phase, Step: e.Step, Target: e.Target}, Reason: e.Finding.Reason, Remedy: e.Finding.Remedy})
		case migrate.Satisfied:
		}
	}
	t.Render()
	if err != nil {
		return n > 0, err
	}
	if n == 0 {
		_, err = show.Fprintf(w, "Nothing ends within %s of %s: nothing is to be renewed.\n", u.Within, u.Began.Format(time.DateOnly))
		return false, err
	}
	_, err = show.Fprintf(w, "%d of %d are to be renewed: they end within %s of %s.\n", n, len(entries), u.Within, u.Began.Format(time.DateOnly))
	return true, err
}
