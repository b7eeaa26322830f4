package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/preflight"

	"github.com/urfave/cli/v2"
)

func preflightCommand() *cli.Command {
	return &cli.Command{
		Name:   "preflight",
		Before: noWords,
		Usage:  "look on every host for what is known to stop a phase, or to hurt it",
		Description: "Numbered, named checks on all hosts side by side, each with what was seen, why it matters\n" +
			"and what to do. docs/preflight.md lists them. Nothing of the cluster is changed; two checks\n" +
			"make something for a moment: DiskSync writes and removes 200 KB on each etcd host, Ports\n" +
			"listens on ports that are free, for half a minute at most.\n" +
			"`migrate run` does those that only look before each phase.\n\n" + exitStatus,
		Flags:  append(commonFlags(), phaseFlag(), strategyFlag(), outputFlag("text", "json"), ignoreFlag("ignore")),
		Action: looking(preflightAction),
	}
}

// ignoreFlag takes names of checks, as kubeadm's --ignore-preflight-errors.
func ignoreFlag(name string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Usage: "let preflight checks pass that block: `NAME,…`, or all",
		Action: func(_ *cli.Context, names []string) error {
			if err := preflight.Validate(names); err != nil {
				return fmt.Errorf("--%s: %w", name, err)
			}
			return nil
		}}
}

func preflightAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	tellProbeFits(c)
	r, err := preflight.Run(c.Context, s.world, preflight.Options{
		Phase: c.Int("phase"), Ignore: c.StringSlice("ignore"), Tell: tellHosts(c.App.ErrWriter),
		InPlace: strategyOf(c) == phases.InPlace,
		Plan: func(ctx context.Context, phase int) ([]migrate.Entry, error) {
			return migrate.Plan(ctx, s.world, allPhases(strategyOf(c))[phase-1], noRecords{})
		},
	})
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		err = show.WriteJSON(c.App.Writer, r)
	} else {
		err = printPreflight(c.App.Writer, r)
	}
	if err != nil {
		return err
	}
	if blocking := r.Blocking(); len(blocking) > 0 {
		return &preflightError{blocking}
	}
	return nil
}

// tellHosts shows on a terminal how many hosts are done.
func tellHosts(w io.Writer) func(done, total int) {
	if !show.IsTerminal(w) {
		return nil
	}
	return func(done, total int) {
		show.Fprintf(w, "%slooked at %d of %d hosts", show.Rewrite, done, total)
		if done == total {
			show.Fprintf(w, "%s", show.Rewrite)
		}
	}
}

// preflightError says which checks block.
type preflightError struct{ blocking []preflight.Result }

func (e *preflightError) Error() string {
	var names []string
	for _, r := range e.blocking {
		if !slices.Contains(names, r.Check) {
			names = append(names, r.Check)
		}
	}
	return fmt.Sprintf("preflight: %s. Do what it says, or let what you know to be harmless pass: --ignore %s",
		describeBlocking(e.blocking), strings.Join(names, ","))
}

func describeBlocking(list []preflight.Result) string {
	r := list[0]
	text := fmt.Sprintf("check %d %s blocks phase %s on %s: %s", r.Number, r.Check, numbers(r.Phases), r.Host, r.Seen)
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

func numbers(phases []int) string {
	var out []string
	for _, p := range phases {
		out = append(out, strconv.Itoa(p))
	}
	return strings.Join(out, ", ")
}

// printPreflight prints a line for each check, and below it what is not fine.
func printPreflight(w io.Writer, r preflight.Report) error {
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
			printBad(w, x, colour)
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

func printBad(w io.Writer, x preflight.Result, colour bool) {
	note := ""
	if x.Ignored {
		note = " (ignored)"
	}
	show.Fprintf(w, "      %s %s: %s%s\n          matters for phase %s: %s\n          do: %s\n",
		mark(x.Severity, colour), x.Host, x.Seen, note, numbers(x.Phases), x.Why, remedyInLines(x.Remedy, x.Command, "          "))
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

// preflight does the checks that only look before a phase that has something
// to do is begun.
func (w *watched) preflight(ctx context.Context, p phases.Phase) error {
	if under, _, err := underWay(w.j, p); err != nil || under {
		return err
	}
	if nothing, err := w.nothingToDo(ctx, p); err != nil || nothing {
		return err
	}
	r, err := preflight.Run(ctx, w.s.world, preflight.Options{Phase: p.Number, Ignore: w.ignore, LookOnly: true, InPlace: w.strategy == phases.InPlace})
	if err != nil {
		return err
	}
	return refuse(p.Number, r.Blocking())
}

// refuse names the first check that blocks, and how to go on all the same.
func refuse(phase int, blocking []preflight.Result) error {
	if len(blocking) == 0 {
		return nil
	}
	var names []string
	for _, r := range blocking {
		if !slices.Contains(names, r.Check) {
			names = append(names, r.Check)
		}
	}
	blocked := &migrate.BlockedError{Where: migrate.Where{Phase: phase}, Reason: describeBlocking(blocking), Command: blocking[0].Command}
	others := fmt.Sprintf("`migrate preflight --phase %d` shows all, --ignore-preflight %s goes on all the same", phase, strings.Join(names, ","))
	if blocked.Remedy = blocking[0].Remedy + "; " + others; blocked.Command != "" { // it comes last
		blocked.Remedy = others + "; " + blocking[0].Remedy
	}
	return blocked
}
