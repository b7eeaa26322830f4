package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func logCommand() *cli.Command {
	return &cli.Command{
		Name:   "log",
		Before: noWords,
		Usage:  "show what earlier commands showed, and which commands they ran on which hosts",
		Description: "Each command that looks at a cluster or changes it keeps a log beside the journal, in\n" +
			"NAME.journal.log: what was shown, also what could not be because the terminal was gone, each\n" +
			"command on a host with its exit status and its time, and how it ended. Secrets are hidden in it\n" +
			"(docs/log.md). Without flags the last command is shown; times are UTC. The cluster is not asked.\n\n" +
			"   migrate log                       the last command, such as a run whose terminal closed\n" +
			"   migrate log --failed              what went wrong in it on the hosts\n" +
			"   migrate log --host cp1 --since 2h every command on cp1 in the last two hours\n" +
			"   migrate log --follow              what a run in another terminal does, as it does it\n\n" + exitStatus,
		Flags: append(logFlags(), outputFlag("text", "json"),
			&cli.BoolFlag{Name: "all", Usage: "show all commands, not just the last one"},
			timeFlag(cli.DurationFlag{Name: "since", Usage: "show what is not older than `TIME`, such as 2h, of all commands", DefaultText: "none"}),
			&cli.BoolFlag{Name: "commands", Usage: "show only the commands on hosts"},
			&cli.StringSliceFlag{Name: "host", Usage: "show only the commands on `HOST`, as the spec calls it"},
			&cli.BoolFlag{Name: "failed", Usage: "show only what failed: commands on hosts, and how a command ended"},
			&cli.BoolFlag{Name: "follow", Usage: "go on showing what comes, until Ctrl-C"}),
		Action: logAction,
	}
}

// logFlags are the common ones that mean something where no host is asked.
func logFlags() []cli.Flag {
	return slices.DeleteFunc(commonFlags(), func(f cli.Flag) bool { return f.Names()[0] == flagAcceptKeys })
}

// journalNamed is the journal that the flags name; the spec need not be there.
func journalNamed(c *cli.Context) string {
	return or(common(c, flagJournal), journalBeside(or(common(c, flagFile), "migrate.yaml")))
}

// logView is what of the log is shown.
type logView struct {
	all      bool
	since    time.Time // zero: from the beginning
	commands bool
	hosts    []string
	failed   bool
	json     bool
	w        io.Writer
	colour   bool
}

// logAction shows the log, and nothing of that goes into a log: looking for secrets in
// what was redacted already takes longer than all the rest.
func logAction(c *cli.Context) (err error) {
	keptLogOf(c.App).unkept(func() { err = showLog(c) })
	return err
}

func showLog(c *cli.Context) error {
	v := logView{all: c.Bool("all") || c.IsSet("since"), commands: c.Bool("commands"), hosts: c.StringSlice("host"), failed: c.Bool("failed"),
		json: c.String("output") == "json", w: c.App.Writer, colour: show.WantColour(c.App.Writer)}
	if c.IsSet("since") {
		v.since = time.Now().Add(-c.Duration("since"))
	}
	path := logBeside(journalNamed(c))
	var follow *runlog.Follow
	if c.Bool("follow") {
		var err error
		if follow, err = runlog.NewFollow(path); err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		defer follow.Close()
	}
	shown, err := v.printAll(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && follow == nil:
		return fmt.Errorf("%w (%s)", errNoLog, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the log: %w", err)
	}
	if follow != nil {
		return v.follow(c, follow)
	}
	if shown == 0 && !v.json {
		show.Fprintln(c.App.ErrWriter, "Nothing in the log fits. `migrate log --all` shows all of it.")
	}
	return nil
}

// printAll prints what is asked for as it is read, and says how many entries that is.
func (v logView) printAll(path string) (shown int, err error) {
	var page bytes.Buffer // of whole lines: what is written must not end within a character
	w := v.w
	v.w = &page
	err = runlog.Each(path, !v.all, func(e runlog.Entry) error {
		if e.At.Before(v.since) || !v.wants(e) {
			return nil
		}
		shown++
		if err := v.print([]runlog.Entry{e}); err != nil || page.Len() < pageBytes {
			return err
		}
		_, err := page.WriteTo(w)
		return err
	})
	_, last := page.WriteTo(w)
	return shown, errors.Join(err, last)
}

// pageBytes is how much is gathered before it is written: a write for each line takes
// longer than all the rest.
const pageBytes = 64 << 10

// followEvery is how often the log is looked at: often enough for somebody who
// watches.
const followEvery = 200 * time.Millisecond

func (v logView) follow(c *cli.Context, f *runlog.Follow) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.Context.Done():
			return nil
		case <-tick.C:
		}
		entries, err := f.Next()
		if err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		entries = slices.DeleteFunc(entries, func(e runlog.Entry) bool { return !v.wants(e) })
		if err := v.print(entries); err != nil {
			return err
		}
	}
}

// wants says whether an entry is of a kind that is asked for.
func (v logView) wants(e runlog.Entry) bool {
	switch {
	case e.Kind == runlog.Ran:
		return (len(v.hosts) == 0 || slices.Contains(v.hosts, e.Host.Host)) && (!v.failed || e.Host.Failed())
	case v.commands || len(v.hosts) > 0:
		return false
	case v.failed:
		return e.Kind == runlog.Lost || e.Kind == runlog.End && e.Ended.Code != 0
	}
	return true
}

func (v logView) print(entries []runlog.Entry) error {
	for _, e := range entries {
		var err error
		if v.json {
			err = json.NewEncoder(v.w).Encode(e)
		} else {
			_, err = show.Fprintf(v.w, "%s", v.text(e))
		}
		if err != nil {
			return fmt.Errorf("showing the log: %w", err)
		}
	}
	return nil
}

// text is one entry for a person. All that it shows may come from a host.
func (v logView) text(e runlog.Entry) show.Own {
	at := show.Sprintf("%s ", e.At.UTC().Format("15:04:05.000"))
	switch e.Kind {
	case runlog.Begin:
		b := e.Begun
		return show.Sprintf("%s\n  begun %s, process %d, by %s in %s, version %s\n", show.Paint(v.colour, show.Bold, string("$ "+show.Cell(b.Command))),
			e.At.UTC().Format("2006-01-02 15:04:05 UTC"), e.PID, show.Cell(b.Who), show.Cell(b.Folder), show.Cell(b.Version))
	case runlog.Ran:
		return at + v.ran(e.Host)
	case runlog.End:
		end := show.Sprintf("ended with exit code %d after %s", e.Ended.Code, show.Seconds(time.Duration(e.Ended.Seconds*float64(time.Second))))
		if e.Ended.Error != "" {
			end += show.Sprintf(": %s", show.Cell(firstLineOf(e.Ended.Error)))
		}
		return at + end + "\n"
	case runlog.Lost:
		return at + show.Paint(v.colour, show.Yellow, string("! "+show.Cell(e.Text))) + "\n"
	case runlog.Unread:
		if e.Lines > 1 {
			return at + show.Sprintf("? %d lines that are no entries of the log, the first: %s\n", e.Lines, show.Cell(e.Text))
		}
		return at + "? no entry of the log: " + show.Cell(e.Text) + "\n"
	case runlog.Out, runlog.Err:
	}
	return at + "| " + show.Cell(e.Text) + "\n"
}

// ran is one command on a host: what came of it, and what it was.
func (v logView) ran(h *runlog.OnHost) show.Own {
	how := show.Sprintf("status %d", h.Status)
	if h.Error != "" {
		how = "no status"
	}
	if h.Failed() {
		how = show.Paint(v.colour, show.Red, string(how))
	}
	line := show.Sprintf("%s: %s, %.2f s: %s", show.Cell(h.Host), how, h.Seconds, show.Cell(h.Name))
	if h.Detached {
		line += " (detached)"
	}
	for _, d := range []struct {
		what string
		of   *runlog.Digest
	}{{"in", h.Stdin}, {"out", h.Stdout}} {
		if d.of != nil {
			line += show.Sprintf(" [%s %d bytes %s]", d.what, d.of.Bytes, show.Cell(d.of.SHA256))
		}
	}
	line += "\n"
	for more := range strings.Lines(h.Stderr + "\n" + h.Error) {
		if more = strings.TrimSpace(more); more != "" {
			line += "             > " + show.Cell(more) + "\n"
		}
	}
	return line
}

func firstLineOf(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
