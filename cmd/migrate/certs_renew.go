package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/phases/certs"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func renewCommand() *cli.Command {
	return &cli.Command{
		Name:   "renew",
		Before: noWords,
		Usage:  "renew the certificates that nobody else renews, one host after the other",
		Description: "The members' (server and peer) and the one that each API server shows to etcd. kubeadm signs\n" +
			"them on the first control-plane node; the CA's key stays there. Nothing is restarted and no\n" +
			"connection is cut. After each host the new certificate is looked for on the wire, and the\n" +
			"cluster must be well before the next. The files of before stay on their host: --undo puts\n" +
			"them back. After a stop of any kind, renew again: it goes on.\n\n" + exitStatus,
		Flags: append(commonFlags(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "within", Value: usualWithin, Usage: "renew what ends within this `TIME`: 30d, 720h",
				Action: func(_ *cli.Context, v string) error {
					if _, err := days(v); err != nil {
						return fmt.Errorf("--within: %w", err)
					}
					return nil
				}},
			&cli.BoolFlag{Name: "plan", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "undo", Usage: "put the certificates of before the last renewal back"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: renewAction,
	}
}

// underRenewal is the journal's blob of the renewal that is under way, or of
// the last one.
type underRenewal struct {
	ID     string    `json:"id"`
	Began  time.Time `json:"began"`
	Within string    `json:"within"`
	Done   time.Time `json:"done,omitzero"`
}

const renewalBlob = "certificates"

// usualWithin is how far ahead is looked where nobody says so.
const usualWithin = "30d"

// options are what the phase is made from.
func (u underRenewal) options() (certs.Options, error) {
	within, err := days(u.Within)
	return certs.Options{ID: u.ID, Began: u.Began, Within: within}, err
}

// renewal is one command's work.
type renewal struct {
	c     *cli.Context
	s     *session
	j     *state.Journal
	under underRenewal
	phase phases.Phase
	stop  <-chan struct{}
}

func renewAction(c *cli.Context) (err error) {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	j, err := s.openJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "certs renew")
	defer done()
	defer func() { err = inOwnWords(ctx, err) }()
	under, err := chooseRenewal(j, c.IsSet("within"), c.String("within"), c.Bool("undo"), time.Now().UTC())
	if err != nil {
		return err
	}
	options, err := under.options()
	if err != nil {
		return err
	}
	r := renewal{c: c, s: s, j: j, under: under, phase: certs.Phase(options), stop: stop}
	if err := r.bind(ctx); err != nil {
		return err
	}
	if c.Bool("undo") {
		return r.undo(ctx)
	}
	return r.renew(ctx, options)
}

// chooseRenewal is the one that is under way, or with undo the last one, or a
// new one.
func chooseRenewal(j *state.Journal, set bool, within string, undo bool, now time.Time) (underRenewal, error) {
	var u underRenewal
	known, err := j.GetBlob(renewalBlob, &u)
	switch {
	case err != nil:
		return u, err
	case undo && !known:
		return u, errors.New("--undo: this journal knows of no renewal, so there is nothing to put back")
	case undo:
		return u, nil
	case known && u.Done.IsZero() && set && within != u.Within:
		return u, fmt.Errorf("a renewal of what ends within %s of %s is under way: finish it with `migrate certs renew`, without --within", u.Within, u.Began.Format(time.DateOnly))
	case known && u.Done.IsZero():
		return u, nil
	}
	return newRenewal(within, now), nil
}

// bind wants the journal to be of this cluster, and etcd to be on hosts of its
// own.
func (r renewal) bind(ctx context.Context) error {
	v := r.s.world.View(migrate.ClusterTarget)
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	id, err := k.Identity(ctx)
	if err != nil {
		return err
	}
	if err := r.j.BindCluster(id); err != nil {
		return err
	}
	return certs.Fits(ctx, v)
}

func (r renewal) renew(ctx context.Context, o certs.Options) error {
	entries, err := migrate.Plan(ctx, r.s.world, r.phase, r.j)
	if err != nil {
		return err
	}
	text := r.c.App.Writer
	if r.c.String("output") == "json" {
		text = r.c.App.ErrWriter
	}
	need, err := printRenewal(text, r.under, entries)
	if err != nil {
		return err
	}
	resumed, err := r.resumed()
	if err != nil {
		return err
	}
	switch {
	case r.c.Bool("plan") && resumed:
		_, err = show.Fprintf(text, "That renewal is under way: `migrate certs renew` goes on with it, and looks again at what ends by then.\n")
		return err
	case r.c.Bool("plan") || !need && !resumed:
		return nil
	}
	if err := mayChange(ctx, r.s, toBeRenewed(entries)); err != nil {
		return err
	}
	if need && !r.c.Bool("yes") {
		if err := askForRenewal(ctx, r.c, r.stop, r.s.spec.Name, "renew"); err != nil {
			return err
		}
	}
	run := func(run migrate.Runner[phases.View, phases.Hands]) error {
		if !resumed {
			// An earlier renewal's records are of files whose copies this one
			// does not know: it could put none of them back.
			if err := r.j.ForgetPhase(certs.Number, renewalBlob, r.under); err != nil {
				return err
			}
		}
		return run.Run(ctx, r.phase)
	}
	if err := r.with(ctx, run); err != nil {
		return fmt.Errorf("the renewal is not finished, `migrate certs renew` goes on with it and `migrate certs renew --undo` takes it back: %w", err)
	}
	if err := r.finish(); err != nil {
		return err
	}
	if _, err := show.Fprintln(r.c.App.ErrWriter, ended(r.under, o, need)); err != nil || !resumed {
		return err
	}
	return r.again(ctx)
}

// ended says what came of a renewal.
func ended(u underRenewal, o certs.Options, renewed bool) string {
	if !renewed {
		return fmt.Sprintf("The renewal of %s is ended: nothing was left of it.", u.Began.Format(time.DateOnly))
	}
	return fmt.Sprintf("Renewed. The files of before are on their hosts, in %s and %s: `migrate certs renew --undo` puts them back.",
		o.KeptIn(certs.MemberID), o.KeptIn(certs.ClientID))
}

// again looks with today's date after a renewal that was gone on with: it chose
// by the day on which it began, and may have lain there for months.
func (r renewal) again(ctx context.Context) error {
	next, err := followUp(r.under, time.Now().UTC())
	if err != nil {
		return err
	}
	options, err := next.options()
	if err != nil {
		return err
	}
	r.under, r.phase = next, certs.Phase(options)
	return r.renew(ctx, options)
}

// followUp is the renewal after one that was gone on with. It looks no further
// ahead than one that nobody says anything about: what has just been renewed
// within a longer time would be due again.
func followUp(u underRenewal, now time.Time) (underRenewal, error) {
	asked, err := days(u.Within)
	if err != nil {
		return underRenewal{}, err
	}
	usual, err := days(usualWithin)
	if err != nil {
		return underRenewal{}, err
	}
	within := u.Within
	if asked > usual {
		within = usualWithin
	}
	return newRenewal(within, now), nil
}

func newRenewal(within string, now time.Time) underRenewal {
	return underRenewal{ID: "renewal-" + strings.ToLower(now.Format("20060102T150405Z")), Began: now, Within: within}
}

// resumed says whether this renewal was begun before and not finished.
func (r renewal) resumed() (bool, error) {
	var known underRenewal
	there, err := r.j.GetBlob(renewalBlob, &known)
	return there && known.ID == r.under.ID && known.Done.IsZero(), err
}

func (r renewal) undo(ctx context.Context) error {
	entries, err := migrate.RollbackPlan(ctx, r.s.world, r.phase, r.j)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("--undo: the last renewal has changed nothing that is not put back already")
	}
	for _, e := range entries {
		show.Fprintf(r.c.App.ErrWriter, "%s: the certificates of before %s go back\n", e.Target, r.under.Began.Format(time.DateOnly))
	}
	if r.c.Bool("plan") {
		return nil
	}
	changed, err := toBeTakenBack(ctx, r.s, r.j, []phases.Phase{r.phase})
	if err != nil {
		return err
	}
	if err := mayChange(ctx, r.s, changed); err != nil {
		return err
	}
	if !r.c.Bool("yes") {
		if err := askForRenewal(ctx, r.c, r.stop, r.s.spec.Name, "put the old ones back"); err != nil {
			return err
		}
	}
	if err := r.with(ctx, func(run migrate.Runner[phases.View, phases.Hands]) error { return run.Rollback(ctx, r.phase) }); err != nil {
		return err
	}
	return r.finish()
}

func (r renewal) finish() error {
	r.under.Done = time.Now().UTC()
	return r.j.PutBlob(renewalBlob, r.under)
}

// with runs do with a runner, while this run holds the cluster.
func (r renewal) with(ctx context.Context, do func(migrate.Runner[phases.View, phases.Hands]) error) error {
	hold, err := holdCluster(ctx, r.s, r.j, "migrate certs renew", func(line string) { show.Fprintln(r.c.App.ErrWriter, line) })
	if err != nil {
		return err
	}
	defer hold.end(ctx)
	stop, done := either(r.stop, hold.lost)
	defer done()
	bar := newProgress(r.c.App.ErrWriter)
	r.s.tellWaits(bar.waits)
	var events migrate.Events = bar
	if r.c.String("output") == "json" {
		events = jsonEvents{json.NewEncoder(r.c.App.Writer)}
	}
	return hold.explain(do(migrate.Runner[phases.View, phases.Hands]{
		Env: r.s.world, Journal: r.j, Spec: r.s.spec.Fingerprint, Events: both{changingWith(ctx), events}, Log: r.s.log, Stop: stop,
	}))
}

// printRenewal says what is true of each host, and whether anything is to be
// done. What blocks is an error: a renewal that can't be finished is not begun.
func printRenewal(w io.Writer, u underRenewal, entries []migrate.Entry) (need bool, err error) {
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

func askForRenewal(ctx context.Context, c *cli.Context, stop <-chan struct{}, name, what string) error {
	if noTerminal(c) {
		return errors.New("there is no terminal to ask on: look at `migrate certs renew --plan` and add --yes")
	}
	answer, err := question(ctx, c, stop, "Type the cluster's name (%s) to %s: ", name, what)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("that is not %q: nothing was changed; %w", name, migrate.ErrStopped)
	}
	return nil
}
