package main

import (
	"fmt"
	"io"

	"hamigrate/migrate/show"
	"hamigrate/phases/verify"

	"github.com/urfave/cli/v2"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:   "verify",
		Before: noWords,
		Usage:  "look whether a migrated cluster is still what the migration left; change nothing",
		Description: "Numbered, named checks on all hosts side by side, each with what was seen, why it matters\n" +
			"and what to do. docs/verify.md lists them. It needs the spec and no journal, so it may be\n" +
			"run at any time and by anybody, from a timer too: exit status 6 when something is not so.\n\n" + exitStatus,
		Flags:  append(commonFlags(), outputFlag("text", "json")),
		Action: looking(verifyAction),
	}
}

func verifyAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := verify.Run(c.Context, s.world, tellHosts(c.App.ErrWriter))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, r)
	} else {
		err = printVerify(c.App.Writer, r)
	}
	if err != nil {
		return err
	}
	if bad := r.Bad(); len(bad) > 0 {
		return &degradedError{bad}
	}
	return nil
}

// degradedError says what is not so on a cluster.
type degradedError struct{ bad []verify.Result }

func (e *degradedError) Error() string {
	r := e.bad[0]
	more := ""
	if n := len(e.bad) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("verify: check %d %s, on %s: %s%s. Do what it says and verify again; where the migration is not finished, `migrate status` shows how far it is",
		r.Number, r.Check, r.Host, r.Seen, more)
}

// printVerify prints a line for each check, and below it what is not so.
func printVerify(w io.Writer, r verify.Report) error {
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
		end = "1 thing is not so."
	} else if n > 1 {
		end = fmt.Sprintf("%d things are not so.", n)
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
