package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases/certs"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

func certsCommand() *cli.Command {
	return &cli.Command{
		Name:  "certs",
		Usage: "list every certificate of the cluster and the etcd hosts, with its end and who renews it",
		Description: "Public parts only are read. What ends first stands first. Once etcd is on its own hosts,\n" +
			"nobody renews the members' certificates and those that the API servers show them:\n" +
			"`migrate certs renew` does. docs/certificates.md has the rest.\n\n" + exitStatus,
		Flags:       append(commonFlags(), outputFlag("text", "json")),
		Subcommands: []*cli.Command{renewCommand()},
		Action: func(c *cli.Context) error {
			if err := noWords(c); err != nil {
				return err
			}
			return looking(certsAction)(c)
		},
	}
}

func certsAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	list, err := certs.Read(c.Context, s.world)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, list)
	} else {
		err = printCerts(c.App.Writer, s, list, time.Now())
	}
	if err != nil {
		return err
	}
	if n := len(list.Unread); n > 0 {
		return fmt.Errorf("certs: %d hosts were not read, or not whole, so certificates of theirs are missing above; the first is %s: %s", n, list.Unread[0].Host, list.Unread[0].Why)
	}
	return nil
}

// soon is when a certificate that nobody renews by itself is to be thought of.
const soon = 30 * 24 * time.Hour

func printCerts(w io.Writer, s *session, list certs.Inventory, now time.Time) error {
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
		ours, first.Ends.Format(time.DateOnly), s.next(fmt.Sprintf("certs renew --within %dd", max(first.Days+1, 30))))
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

// days reads "30d", or a duration as Go has it: "720h".
func days(text string) (time.Duration, error) {
	if n, isDays := strings.CutSuffix(text, "d"); isDays {
		number, err := strconv.Atoi(n)
		if err != nil || number < 0 || number > 36500 {
			return 0, fmt.Errorf("%q is no number of days: write 30d", text)
		}
		return time.Duration(number) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time: write 30d or 720h", text)
	}
	return d, nil
}
