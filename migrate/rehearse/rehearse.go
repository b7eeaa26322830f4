// Package rehearse migrates a playground on this machine while it is measured what its
// clients see: it makes the playground, plans, runs, on request goes all the way back
// and forward again, and takes the playground down, whatever happened. What is kept of
// it is the business of migrate/rehearsal.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/measure"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/report"
	"hamigrate/migrate/run"
	"hamigrate/phases"
	"hamigrate/phases/migration"
)

// Options say what is rehearsed, and how.
type Options struct {
	Strategy   phases.Strategy
	Playground playground.Options
	Keep       bool   // leave the playground up afterwards
	AndBack    bool   // all the way back and forward again, after the first way forward
	Command    string // of this program, which begins with a new playground: "rehearse"

	Measure measure.How        // Tell is asked until the migration begins, Progress from then on
	Session run.SessionOptions // without the files, which are those of the playground

	Stop     <-chan struct{}                   // closed: stop as soon as nothing is half done
	Planned  func(plans []run.PhasePlan) error // is shown the plan
	Progress func() Progress                   // made when the migration begins
}

// Progress is told what a rehearsal does.
type Progress interface {
	migrate.Events
	// Say tells a line that is no event.
	Say(line string)
	// Waits tells for which host the program waits.
	Waits(remote.Wait)
	// SetLive is given what says, at any time, how many requests have failed.
	SetLive(func() string)
}

// Run makes a playground, migrates it and takes it down. The report is there as soon as
// there was something to report, also with an error.
func Run(ctx context.Context, o Options) (r *report.Report, err error) {
	// One that is there may be somebody's: it would be migrated and taken
	// down under their hands.
	if _, err := playground.Open(playground.DefaultDir, o.Playground.Name, nil); err == nil {
		return nil, fmt.Errorf("a playground named %[1]s is there already: `migrate playground down --name %[1]s` removes it, --name takes another", o.Playground.Name)
	} else if !errors.Is(err, playground.ErrNotFound) {
		return nil, err
	}
	run.BeginsToChange(ctx) // what is built is taken down as a whole
	// Until the migration begins there is nothing to finish: the first
	// Ctrl-C ends the set-up.
	building, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-o.Stop:
			cancel()
		case <-building.Done():
		}
	}()
	pg, err := playground.Up(building, o.Playground, o.Measure.Tell)
	cancel()
	if err != nil {
		return nil, errors.Join(err, o.takeDown(ctx, pg))
	}
	defer func() {
		if down := o.takeDown(ctx, pg); down != nil {
			err = errors.Join(err, down)
			return
		}
		err = o.whatIsLeft(err)
	}()
	return o.on(ctx, pg)
}

// whatIsLeft adds to the error of a rehearsal that was stopped what there is
// now, and how to go on.
func (o Options) whatIsLeft(err error) error {
	switch {
	case !errors.Is(err, migrate.ErrStopped):
		return err
	case o.Keep:
		return fmt.Errorf("%w; the playground is up as it is: `migrate playground down --name %s` removes it", err, o.Playground.Name)
	}
	return fmt.Errorf("%w; the playground is taken down, and `migrate %s` begins with a new one", err, o.Command)
}

// takeDown removes the playground, also after Ctrl-C and of one half made.
func (o Options) takeDown(ctx context.Context, pg *playground.Playground) error {
	if o.Keep {
		return nil
	}
	if pg == nil {
		half, err := playground.Open(playground.DefaultDir, o.Playground.Name, nil)
		if errors.Is(err, playground.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		pg = half
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if err := pg.Down(ctx); err != nil {
		return fmt.Errorf("taking the playground down (again: migrate playground down --name %s): %w", o.Playground.Name, err)
	}
	return nil
}

// on measures and migrates a playground. Its report has the steps and their times
// of the first way forward; with AndBack the figures of clients are of all
// three ways, and the result is that of the last.
func (o Options) on(ctx context.Context, pg *playground.Playground) (*report.Report, error) {
	at := o.Session
	at.File, at.Journal = pg.SpecFile(), filepath.Join(pg.Dir(), "rehearsal.journal")
	at.SSH.Given = " --file " + remote.Quote(pg.SpecFile())
	at.SSH.NoUserConfig = true // it knows nothing of a playground, and may lead elsewhere
	s, err := run.Open(at)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	announced, err := o.plan(ctx, s)
	if err != nil {
		return nil, err
	}
	progress := o.Progress()
	s.TellWaits(progress.Waits)
	how := o.Measure
	how.Tell, how.Live = progress.Say, progress.SetLive
	forward := run.Options{Command: "rehearse", Strategy: o.Strategy, Chosen: true, Events: progress, Stop: o.Stop,
		Operator: run.Unattended{Tell: progress.Say}, Prober: measure.New(how)}
	failed := run.Run(ctx, s, forward)
	r, err := reportOf(s)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	r.AnnouncedOutageSeconds = announced.Seconds()
	if failed != nil || !o.AndBack {
		return r, failed
	}
	how.Quiet = 0 // measured before the first way forward
	forward.Prober = measure.New(how)
	failed = backAndForth(ctx, s, forward, progress.Say)
	last, err := reportOf(s)
	if err != nil {
		return r, errors.Join(failed, err)
	}
	r.Probe, r.Result, r.Backups = last.Probe, last.Result, last.Backups
	return r, failed
}

// backAndForth takes a migration back and does it again.
func backAndForth(ctx context.Context, s *run.Session, o run.Options, say func(string)) error {
	say("all the way back")
	if err := run.Rollback(ctx, s, o); err != nil {
		return err
	}
	say("and forward again")
	return run.Run(ctx, s, o)
}

// reportOf makes a report of the session's journal.
func reportOf(s *run.Session) (*report.Report, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return nil, err
	}
	r, err := report.Make(j, migration.Phases)
	return &r, errors.Join(err, j.Close())
}

// plan shows the plan and returns the outage that it announces.
func (o Options) plan(ctx context.Context, s *run.Session) (time.Duration, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return 0, err
	}
	plans, err := run.MakePlan(ctx, s, migration.Of(s.Spec, o.Strategy), j)
	if err := errors.Join(err, j.Close()); err != nil {
		return 0, err
	}
	var away time.Duration
	for _, p := range plans {
		away += run.OutageOf(p.Entries)
	}
	return away, o.Planned(plans)
}
