package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
)

// operatorHere is the person, or the script, at this terminal.
type operatorHere struct {
	c    *cli.Context
	name string // the cluster's, which is typed to agree
	stop <-chan struct{}
	say  func(string)
}

// Say tells a line that is no event.
func (o operatorHere) Say(line string) { o.say(line) }

// Confirm asks whether a phase is to be begun.
func (o operatorHere) Confirm(ctx context.Context, p phases.Phase) error {
	return askForPhase(ctx, o.c, o.stop, o.name, p)
}

// InPlace asks whether to do without the overlap, which is about an outage.
func (o operatorHere) InPlace(ctx context.Context, blocked *migrate.BlockedError, away time.Duration) error {
	return askInPlace(ctx, o.c, o.stop, blocked, away)
}

// operatorAt is whom a run asks: nobody, with --yes.
func operatorAt(c *cli.Context, s *run.Session, stop <-chan struct{}, say func(string)) run.Operator {
	if c.Bool("yes") {
		return run.Unattended{Tell: say}
	}
	return operatorHere{c, s.Spec.Name, stop, say}
}

// eventsOf are the listener of --output, and the progress that tells people of it.
func eventsOf(c *cli.Context, s *run.Session) (migrate.Events, *console.Progress) {
	bar := console.NewProgress(c.App.ErrWriter)
	s.TellWaits(bar.Waits)
	if c.String("output") == "json" {
		return console.NewJSONEvents(c.App.Writer), bar
	}
	return bar, bar
}

// confirmByName wants the cluster's name typed. without says what to do where nobody can be
// asked, question is asked with the name in it.
func confirmByName(ctx context.Context, c *cli.Context, stop <-chan struct{}, name, without, format string, more ...any) error {
	if noTerminal(c) {
		return errors.New("there is no terminal to ask on: " + without)
	}
	answer, err := question(ctx, c, stop, format, append([]any{name}, more...)...)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("that is not %q: nothing was changed; %w", name, migrate.ErrStopped)
	}
	return nil
}

// renewalHere is the operator of a renewal at this terminal.
type renewalHere struct {
	c    *cli.Context
	name string
	stop <-chan struct{}
}

// plan is where what is planned is shown: events for scripts have the standard output.
func (o renewalHere) plan() io.Writer {
	if o.c.String("output") == "json" {
		return o.c.App.ErrWriter
	}
	return o.c.App.Writer
}

// Planned shows what is true of each certificate.
func (o renewalHere) Planned(u run.UnderRenewal, entries []migrate.Entry) (need bool, err error) {
	return console.PrintRenewal(o.plan(), u, entries)
}

// Note adds a line to what was planned.
func (o renewalHere) Note(line string) error {
	_, err := show.Fprintln(o.plan(), line)
	return err
}

// Say tells what becomes of it.
func (o renewalHere) Say(line string) { show.Fprintln(o.c.App.ErrWriter, line) }

// Confirm wants the cluster's name typed.
func (o renewalHere) Confirm(ctx context.Context, what string) error {
	if o.c.Bool("yes") {
		return nil
	}
	return confirmByName(ctx, o.c, o.stop, o.name, "look at `migrate certs renew --plan` and add --yes", "Type the cluster's name (%s) to %s: ", what)
}

// restoreHere is the operator of a restore at this terminal.
type restoreHere struct {
	c    *cli.Context
	name string
	stop <-chan struct{}
}

// Planned shows what is true now, what is to be done and what is lost.
func (o restoreHere) Planned(p run.RestorePlan) error { return console.PrintRestore(o.c.App.Writer, p) }

// Confirm wants the cluster's name typed.
func (o restoreHere) Confirm(ctx context.Context) (wasAsked bool, err error) {
	if o.c.Bool("yes") {
		return false, nil
	}
	return true, confirmByName(ctx, o.c, o.stop, o.name, "look at `migrate restore --plan` and add --yes", "Type the cluster's name (%s) to lose these writes and restore: ")
}

// Done tells from where the cluster was restored.
func (o restoreHere) Done(folder string) error {
	return console.PrintRestored(o.c.App.ErrWriter, folder)
}
