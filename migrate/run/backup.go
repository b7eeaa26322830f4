package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/backup"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// backupSource is the cluster as a backup is taken from it.
func backupSource(ctx context.Context, s *Session) (backup.Source, error) {
	v := s.Access.Reader(migrate.ClusterTarget)
	k, err := v.Kube(ctx)
	if err != nil {
		return backup.Source{}, err
	}
	id, err := k.Identity(ctx)
	if err != nil {
		return backup.Source{}, err
	}
	kubernetes, err := k.Version()
	if err != nil {
		return backup.Source{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return backup.Source{}, err
	}
	src, err := sourceWithoutAPI(ctx, s)
	src.CertificatesDir = cc.CertificatesDir()
	src.Identity, src.KubernetesVersion = id, kubernetes
	return src, err
}

// sourceWithoutAPI is for what is left of a cluster.
func sourceWithoutAPI(ctx context.Context, s *Session) (backup.Source, error) {
	v := s.Access.Reader(migrate.ClusterTarget)
	e, err := v.Etcd(ctx)
	if err != nil {
		return backup.Source{}, err
	}
	return backup.Source{Members: e, Node: v.On(v.First().Name), Cluster: s.Spec.Name}, nil
}

// backedUpPhases are those before whose first change a backup is taken.
var backedUpPhases = []int{2, 3}

// Backup saves a backup beside the journal, also of a cluster whose API does not
// answer: of what is left of it. tell is told what is done.
func Backup(ctx context.Context, s *Session, tell func(string)) (backup.Set, error) {
	src, err := backupSource(ctx, s)
	if err != nil {
		tell(fmt.Sprintf("the API does not say whose cluster it is: %v", err))
		if src, err = sourceWithoutAPI(ctx, s); err != nil {
			return backup.Set{}, err
		}
	}
	return backup.Take(ctx, src, backup.Options{Dir: backup.Dir(s.Journal), Tool: s.tool, WithoutLeader: true, Say: tell})
}

// justBefore is how long before its phase's begin a backup was taken: the
// health of the cluster may have been waited for in between.
const justBefore = 15 * time.Minute

// backUp takes a backup before the first change of a phase. A phase that is
// half done goes on without one where none can be had: half of it is a worse
// place to stay in.
func (r *run) backUp(ctx context.Context, p phases.Phase) error {
	if !slices.Contains(backedUpPhases, p.Number) {
		return nil
	}
	under, since, err := underWay(r.j, p)
	if err != nil {
		return err
	}
	if r.NoBackup {
		r.Operator.Say(fmt.Sprintf("no backup is taken before phase %d: --no-backup", p.Number))
		return nil
	}
	if under {
		if has, err := hasBackup(backup.Dir(r.s.Journal), p.Number, since); err != nil || has {
			return err
		}
	} else if idle, err := r.nothingToDo(ctx, p); err != nil || idle {
		return err
	}
	err = r.takeBackup(ctx, p)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if under {
		r.Operator.Say(fmt.Sprintf("going on without a backup, since phase %d is half done: %v", p.Number, err))
		return nil
	}
	return &migrate.BlockedError{Where: migrate.Where{Phase: p.Number}, Err: err,
		Reason: fmt.Sprintf("there is no backup to begin phase %d with: %v", p.Number, err),
		Remedy: "nothing was changed; fix that and run again, or skip the backup: --no-backup"}
}

// underWay says whether anything of a phase stands that is not complete, and
// since when. What a rollback has left as it is does not count.
func underWay(j *state.Journal, p phases.Phase) (bool, time.Time, error) {
	known, err := j.Phase(p.Number)
	if err != nil || known.Begun.IsZero() || !known.Completed.IsZero() {
		return false, time.Time{}, err
	}
	stands, err := migrate.Stands(j, p)
	return stands, known.Begun, err
}

func hasBackup(dir string, phase int, begun time.Time) (bool, error) {
	sets, err := backup.List(dir)
	return slices.ContainsFunc(sets, func(s backup.Set) bool { return s.Phase == phase && s.At.After(begun.Add(-justBefore)) }), err
}

func (r *run) takeBackup(ctx context.Context, p phases.Phase) error {
	began := time.Now()
	tell := func(kind migrate.EventKind, message string) {
		r.Events.Event(migrate.Event{Kind: kind, Phase: p.Number, PhaseName: p.Name, Title: "Back up before phase", Message: message, At: time.Now(), Elapsed: time.Since(began)})
	}
	src, err := backupSource(ctx, r.s)
	if err != nil {
		return err
	}
	set, err := backup.Take(ctx, src, backup.Options{Dir: backup.Dir(r.s.Journal), Phase: p.Number, Tool: r.s.tool,
		Say: func(message string) { tell(migrate.EventBackupStarted, message) }})
	if err != nil {
		return err
	}
	tell(migrate.EventBackupDone, set.Summary())
	var all []runrecord.Backup
	if _, err := r.j.GetBlob(runrecord.BackupsBlob, &all); err != nil {
		return errors.Join(err, errors.New("the backup itself is there"))
	}
	return r.j.PutBlob(runrecord.BackupsBlob, append(all, runrecord.Backup{
		Phase: p.Number, At: set.At, Seconds: time.Since(began).Seconds(), Folder: set.Folder, Member: set.Etcd.Host, Version: set.Etcd.Version,
		Revision: set.Etcd.Revision, Keys: set.Etcd.Keys, Bytes: set.Etcd.Bytes, Hash: set.Etcd.Hash, Files: set.Kubernetes.Files,
	}))
}
