package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/run"
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
		Flags: append(logFlags(), cliflags.Output("text", "json"),
			&cli.BoolFlag{Name: "all", Usage: "show all commands, not just the last one"},
			cliflags.Time(cli.DurationFlag{Name: "since", Usage: "show what is not older than `TIME`, such as 2h, of all commands", DefaultText: "none"}),
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
	return cmp.Or(cliflags.String(c, flagJournal), run.JournalBeside(cmp.Or(cliflags.String(c, flagFile), "migrate.yaml")))
}

// logAction shows the log, and nothing of that goes into a log: looking for secrets in
// what was redacted already takes longer than all the rest.
func logAction(c *cli.Context) (err error) {
	keptLogOf(c.App).Without(func() { err = showLog(c) })
	return err
}

func showLog(c *cli.Context) error {
	v := commandlog.View{All: c.Bool("all") || c.IsSet("since"), Commands: c.Bool("commands"), Hosts: c.StringSlice("host"), Failed: c.Bool("failed"),
		JSON: c.String("output") == "json", W: c.App.Writer, Colour: show.WantColour(c.App.Writer)}
	if c.IsSet("since") {
		v.Since = time.Now().Add(-c.Duration("since"))
	}
	path := commandlog.Beside(journalNamed(c))
	var follow *runlog.Follow
	if c.Bool("follow") {
		var err error
		if follow, err = runlog.NewFollow(path); err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		defer follow.Close()
	}
	shown, err := v.Print(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && follow == nil:
		return fmt.Errorf("%w (%s)", commandlog.ErrNone, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the log: %w", err)
	}
	if follow != nil {
		return v.Follow(c.Context, follow)
	}
	if shown == 0 && !v.JSON {
		show.Fprintln(c.App.ErrWriter, "Nothing in the log fits. `migrate log --all` shows all of it.")
	}
	return nil
}

// keptLogKey is the application's entry of the log.
const keptLogKey = "kept-log"

// keptLogOf is the application's log, nil where there is none.
func keptLogOf(app *cli.App) *commandlog.Log {
	l, _ := app.Metadata[keptLogKey].(*commandlog.Log)
	return l
}

// keepLog begins the log of a command beside a journal; without a journal there is
// none.
func keepLog(c *cli.Context, journal string) {
	l := keptLogOf(c.App)
	if l == nil || journal == "" {
		return
	}
	l.Open(commandlog.Beside(journal), c.Command.HelpName)
}
