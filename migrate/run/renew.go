package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/certs"
	"hamigrate/state"
)

// UnderRenewal is the journal's blob of the renewal that is under way, or of
// the last one.
type UnderRenewal struct {
	ID     string    `json:"id"`
	Began  time.Time `json:"began"`
	Within string    `json:"within"`
	Done   time.Time `json:"done,omitzero"`
}

const RenewalBlob = "certificates"

// UsualWithin is how far ahead is looked where nobody says so.
const UsualWithin = "30d"

// options are what the phase is made from.
func (u UnderRenewal) options() (certs.Options, error) {
	within, err := Days(u.Within)
	return certs.Options{ID: u.ID, Began: u.Began, Within: within}, err
}

// RenewOptions says what is renewed, and how.
type RenewOptions struct {
	Within   string // what ends within this time is renewed, such as "30d"
	Chosen   bool   // that time was asked for: not the default
	PlanOnly bool   // only say what would be done
	Undo     bool   // restore the certificates from before the last renewal

	Events   func() migrate.Events // made when the first step begins
	Stop     <-chan struct{}
	Operator RenewOperator
}

// RenewOperator is the person, or the script, that a renewal works for.
type RenewOperator interface {
	// Planned shows what is true of each certificate, and says whether anything is to be
	// done. What blocks is an error: a renewal that can't be finished is not begun.
	Planned(u UnderRenewal, entries []migrate.Entry) (need bool, err error)
	// Note adds a line to what was planned.
	Note(line string) error
	// Confirm asks whether to do what the question says.
	Confirm(ctx context.Context, what string) error
	// Say tells what becomes of it.
	Say(line string)
}

// renewal is one command's work.
type renewal struct {
	o     RenewOptions
	s     *Session
	j     *state.Journal
	under UnderRenewal
	phase phases.Phase
}

// RenewCertificates renews the certificates that nobody else renews, or puts those of before the
// last renewal back. One that was stopped goes on.
func RenewCertificates(ctx context.Context, s *Session, o RenewOptions) (err error) {
	j, err := s.openJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	defer func() { err = InOwnWords(ctx, errors.Join(err, s.keepHostKeys(j))) }()
	under, err := chooseRenewal(j, o.Chosen, o.Within, o.Undo, time.Now().UTC())
	if err != nil {
		return err
	}
	options, err := under.options()
	if err != nil {
		return err
	}
	r := renewal{o: o, s: s, j: j, under: under, phase: certs.Phase(options)}
	if err := r.bind(ctx); err != nil {
		return err
	}
	if o.Undo {
		return r.undo(ctx)
	}
	return r.renew(ctx, options)
}

// chooseRenewal is the one that is under way, or with undo the last one, or a
// new one.
func chooseRenewal(j *state.Journal, set bool, within string, undo bool, now time.Time) (UnderRenewal, error) {
	var u UnderRenewal
	known, err := j.GetBlob(RenewalBlob, &u)
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
	v := r.s.Access.Reader(migrate.ClusterTarget)
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
	return certs.CheckEtcd(ctx, v)
}

func (r renewal) renew(ctx context.Context, o certs.Options) error {
	entries, err := migrate.Plan(ctx, r.s.Access, r.phase, r.j)
	if err != nil {
		return err
	}
	need, err := r.o.Operator.Planned(r.under, entries)
	if err != nil {
		return err
	}
	resumed, err := r.resumed()
	if err != nil {
		return err
	}
	switch {
	case r.o.PlanOnly && resumed:
		return r.o.Operator.Note("That renewal is under way: `migrate certs renew` goes on with it, and looks again at what ends by then.")
	case r.o.PlanOnly || !need && !resumed:
		return nil
	}
	if err := MayChange(ctx, r.s, toBeRenewed(entries)); err != nil {
		return err
	}
	if need {
		if err := r.o.Operator.Confirm(ctx, "renew"); err != nil {
			return err
		}
	}
	renew := func(runner runner) error {
		if !resumed {
			// An earlier renewal's records are of files whose copies this one
			// does not know: it could put none of them back.
			if err := r.j.ForgetPhase(certs.Number, RenewalBlob, r.under); err != nil {
				return err
			}
		}
		return runner.Run(ctx, r.phase)
	}
	if err := r.with(ctx, renew); err != nil {
		return fmt.Errorf("the renewal is not finished, `migrate certs renew` goes on with it and `migrate certs renew --undo` undoes it: %w", err)
	}
	if err := r.finish(); err != nil {
		return err
	}
	r.o.Operator.Say(ended(r.under, o, need))
	if !resumed {
		return nil
	}
	return r.again(ctx)
}

// ended says what came of a renewal.
func ended(u UnderRenewal, o certs.Options, renewed bool) string {
	if !renewed {
		return fmt.Sprintf("The renewal of %s is ended: nothing was left of it.", u.Began.Format(time.DateOnly))
	}
	return fmt.Sprintf("Renewed. The previous files are on their hosts, in %s and %s: `migrate certs renew --undo` puts them back.",
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
func followUp(u UnderRenewal, now time.Time) (UnderRenewal, error) {
	asked, err := Days(u.Within)
	if err != nil {
		return UnderRenewal{}, err
	}
	usual, err := Days(UsualWithin)
	if err != nil {
		return UnderRenewal{}, err
	}
	within := u.Within
	if asked > usual {
		within = UsualWithin
	}
	return newRenewal(within, now), nil
}

func newRenewal(within string, now time.Time) UnderRenewal {
	return UnderRenewal{ID: "renewal-" + strings.ToLower(now.Format("20060102T150405Z")), Began: now, Within: within}
}

// resumed says whether this renewal was begun before and not finished.
func (r renewal) resumed() (bool, error) {
	var known UnderRenewal
	there, err := r.j.GetBlob(RenewalBlob, &known)
	return there && known.ID == r.under.ID && known.Done.IsZero(), err
}

func (r renewal) undo(ctx context.Context) error {
	entries, err := migrate.RollbackPlan(ctx, r.s.Access, r.phase, r.j)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("--undo: the last renewal has changed nothing that is not put back already")
	}
	for _, e := range entries {
		r.o.Operator.Say(fmt.Sprintf("%s: the certificates from before %s are restored", e.Target, r.under.Began.Format(time.DateOnly)))
	}
	if r.o.PlanOnly {
		return nil
	}
	changed, err := toBeTakenBack(ctx, r.s, r.j, []phases.Phase{r.phase})
	if err != nil {
		return err
	}
	if err := MayChange(ctx, r.s, changed); err != nil {
		return err
	}
	if err := r.o.Operator.Confirm(ctx, "put the old ones back"); err != nil {
		return err
	}
	if err := r.with(ctx, func(runner runner) error { return runner.Rollback(ctx, r.phase) }); err != nil {
		return err
	}
	return r.finish()
}

func (r renewal) finish() error {
	r.under.Done = time.Now().UTC()
	return r.j.PutBlob(RenewalBlob, r.under)
}

// with calls do with a runner, while this run holds the cluster.
func (r renewal) with(ctx context.Context, do func(runner) error) error {
	lease, err := takeLease(ctx, r.s, r.j, "certs renew", r.o.Operator.Say)
	if err != nil {
		return err
	}
	defer lease.Release(ctx)
	return work{s: r.s, j: r.j, spec: r.s.Spec.Fingerprint, events: []migrate.Events{r.o.Events()}, stop: r.o.Stop, lease: lease}.with(ctx, do)
}

// Days reads "30d", or a duration as Go has it: "720h".
func Days(text string) (time.Duration, error) {
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
