package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/backup"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/restore"
	"hamigrate/state"
)

// underRestore is the journal's blob of the restore that is under way, or of
// the last one.
type underRestore struct {
	ID     string    `json:"id"`
	Folder string    `json:"folder"`
	SHA256 string    `json:"sha256"` // of the snapshot
	Began  time.Time `json:"began"`
	Done   time.Time `json:"done,omitzero"`
}

const RestoreBlob = "restore"

// seeRestore looks at what is there; its error is also why nothing may be
// restored.
func seeRestore(ctx context.Context, s *Session, o restore.Options) (restore.Look, error) {
	look, err := o.See(ctx, s.Access.Reader(migrate.ClusterTarget))
	if err == nil && look.Refused != "" {
		err = &migrate.BlockedError{Where: migrate.Where{Phase: restore.Number}, Reason: look.Refused, Remedy: "nothing was changed"}
	}
	return look, err
}

// RestoreOptions says what is restored, and how.
type RestoreOptions struct {
	From     string // the backup's folder; "": the newest one beside the journal
	PlanOnly bool   // only say what would be done

	Events   func() migrate.Events // made when the first step begins
	Stop     <-chan struct{}
	Operator RestoreOperator
}

// RestoreOperator is the person, or the script, that a restore works for.
type RestoreOperator interface {
	// Planned shows what is true now, what is to be done and what is lost with it.
	Planned(p RestorePlan) error
	// Confirm asks whether to lose the writes since the backup. wasAsked is false where
	// nobody had to be waited for.
	Confirm(ctx context.Context) (wasAsked bool, err error)
	// Done tells that the cluster was restored from a folder.
	Done(folder string) error
}

// RestorePlan is what a restore would do.
type RestorePlan struct {
	Set     backup.Set
	Folder  string // of the backup
	Look    restore.Look
	Entries []migrate.Entry
}

// Restore makes etcd's lost members again from a backup. One that was stopped
// goes on.
func Restore(ctx context.Context, s *Session, o RestoreOptions) (err error) {
	j, err := s.openJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	defer func() { err = InOwnWords(ctx, errors.Join(err, s.keepHostKeys(j))) }()
	set, under, err := chooseBackup(s, j, o.From)
	if err != nil {
		return err
	}
	options, err := restoreOptions(s, backup.ThisMachine{}, set, under)
	if err != nil {
		return err
	}
	look, err := seeRestore(ctx, s, options)
	if err != nil {
		return err
	}
	p := restore.Phase(options)
	entries, err := migrate.Plan(ctx, s.Access, p, j)
	if err != nil {
		return err
	}
	if err := o.Operator.Planned(RestorePlan{Set: set, Folder: under.Folder, Look: look, Entries: entries}); err != nil || o.PlanOnly {
		return err
	}
	// In its middle the API is away, and the members may be.
	changed, err := toBeRestored(ctx, s, p)
	if err != nil {
		return err
	}
	if err := MayChange(ctx, s, changed); err != nil {
		return err
	}
	wasAsked, err := o.Operator.Confirm(ctx)
	if err != nil {
		return err
	}
	if wasAsked { // The answer may have taken hours, in which somebody brought a quorum back.
		if _, err := seeRestore(ctx, s, options); err != nil {
			return err
		}
	}
	return runRestore(ctx, s, j, o, p, under)
}

// runRestore keeps what is restored in the journal before the first change. The cluster
// can't be held meanwhile: its API is away.
func runRestore(ctx context.Context, s *Session, j *state.Journal, o RestoreOptions, p phases.Phase, under underRestore) error {
	if err := j.PutBlob(RestoreBlob, under); err != nil {
		return err
	}
	w := work{s: s, j: j, spec: restore.Fingerprint(s.Spec), events: []migrate.Events{o.Events()}, stop: o.Stop}
	if err := w.with(ctx, func(r runner) error { return r.Run(ctx, p) }); err != nil {
		return unfinished(err)
	}
	under.Done = time.Now().UTC()
	if err := j.PutBlob(RestoreBlob, under); err != nil {
		return err
	}
	return o.Operator.Done(under.Folder)
}

// unfinished says what is to be done about a restore that did not end.
func unfinished(err error) error {
	switch {
	case errors.Is(err, migrate.ErrStopped):
		return fmt.Errorf("the restore was stopped halfway, and the API may be away: `migrate restore` goes on: %w", err)
	case errors.Is(err, restore.ErrOtherQuorum):
		return fmt.Errorf("this restore ends here, before it takes away what serves now: if it has stopped anything, move its manifests on the control-plane nodes from %s back to %s "+
			"and `systemctl enable --now etcd.service` on the etcd hosts: %w", phases.DisabledDir, kube.ManifestsDir, err)
	}
	return fmt.Errorf("the restore is not finished, `migrate restore` goes on with it: %w", err)
}
