package main

import (
	"fmt"
	"io"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/report"
	"hamigrate/migrate/report/page"
	"hamigrate/migrate/show"
	"hamigrate/phases/migration"

	"github.com/urfave/cli/v2"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:   "report",
		Before: noWords,
		Usage:  "tell what was done, from the journal",
		Description: "Text for the terminal; `-o json`, a contract with scripts (docs/architecture.md); `-o html`, one\n" +
			"page that loads nothing: figures, charts and diffs; `-o markdown`, a change record for a\n" +
			"ticket. --html writes the page to a file besides. The cluster is not asked.\n\n" + exitStatus,
		Flags: append(commonFlags(), cliflags.Output("text", "json", "html", "markdown"),
			&cli.BoolFlag{Name: "json", Usage: "the same as --output json"},
			&cli.StringFlag{Name: "html", Usage: "write the page to `FILE` as well"}),
		Action: reportAction,
	}
}

func reportAction(c *cli.Context) error {
	s, err := readSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := s.ReadJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	r, err := report.Make(j, migration.Phases)
	if err != nil {
		return err
	}
	if r.StartedAt.IsZero() {
		return fmt.Errorf("nothing was begun yet, so there is nothing to report; next: %s", s.Next("plan"))
	}
	d, err := report.MakePage(j, r, report.PageOptions{Phases: migration.Phases, Tool: version})
	if err != nil {
		return err
	}
	if file := c.String("html"); file != "" {
		if err := writePage(file, ownFilesOf(s), d); err != nil {
			return err
		}
		show.Fprintf(c.App.ErrWriter, "Page: %s\n", file)
	}
	format := c.String("output")
	if c.Bool("json") {
		format = "json"
	}
	switch format {
	case "json":
		return show.WriteJSON(c.App.Writer, r)
	case "text":
		if err := report.Print(c.App.Writer, r); err != nil || r.Result != "failed" {
			return err
		}
		_, err := show.Fprintf(c.App.Writer, "`%s` says how far it is.\n", s.Next("status"))
		return err
	}
	return printPage(c.App.Writer, d, format)
}

// writePage writes the page to the file of --html, for its owner alone: it names every
// host of a cluster, with its versions.
func writePage(file string, own outputfile.Own, d page.Data) error {
	return outputfile.Save("html", file, 0o600, own, func(w io.Writer) error { return page.HTML(w, d) })
}

// printPage writes the report in a format that is made of a page.
func printPage(w io.Writer, d page.Data, format string) error {
	if format == "html" {
		return page.HTML(w, d)
	}
	return page.Markdown(w, d)
}
