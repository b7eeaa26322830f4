package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/backup"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:   "backup",
		Before: noWords,
		Usage:  "save a snapshot of etcd and an archive of /etc/kubernetes on this machine, and check them",
		Description: "Writes a folder beside the journal: etcd.db, kubernetes.tar.gz and manifest.json, for their\n" +
			"owner alone. `migrate run` does the same before phases 2 and 3. Every Secret of the cluster is\n" +
			"in it. The private keys of the CAs are not: they never leave their node. `migrate restore`\n" +
			"is what it is for.\n\n" + exitStatus,
		Flags: append(commonFlags(), &cli.BoolFlag{Name: "list", Usage: "only list the backups that are there"}),
		Action: func(c *cli.Context) (err error) {
			s, err := openSession(c)
			if err != nil {
				return err
			}
			defer s.close()
			if c.Bool("list") {
				return listBackups(c, s)
			}
			ctx, _, done := stopOnSignals(c.Context, c.App.ErrWriter, "backup")
			defer done()
			defer func() { err = inOwnWords(ctx, err) }()
			tell := teller(c)
			src, err := backupSource(ctx, s)
			if err != nil {
				tell(fmt.Sprintf("the API does not say whose cluster it is: %v", err))
				if src, err = sourceWithoutAPI(ctx, s); err != nil {
					return err
				}
			}
			set, err := backup.Take(ctx, src, backup.Options{Dir: backup.Dir(s.journal), Tool: version, WithoutLeader: true, Say: tell})
			if err != nil {
				return err
			}
			_, err = show.Fprintf(c.App.Writer, "Saved: %s\n", set.Summary())
			return err
		},
	}
}

func listBackups(c *cli.Context, s *session) error {
	sets, err := backup.List(backup.Dir(s.journal))
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		_, err := show.Fprintf(c.App.Writer, "There is no backup in %s; `%s` makes one.\n", backup.Dir(s.journal), s.next("backup"))
		return err
	}
	t := tabular.New(c.App.Writer, "taken", "before", "revision", "keys", "etcd", "folder")
	for _, b := range sets {
		before := "–"
		if b.Phase > 0 {
			before = fmt.Sprintf("phase %d", b.Phase)
		}
		t.Add(b.At.Format(time.RFC3339), before, b.Etcd.Revision, b.Etcd.Keys, b.Etcd.Version, b.Folder)
	}
	t.Render()
	return nil
}

// backupSource is the cluster as a backup is taken from it.
func backupSource(ctx context.Context, s *session) (backup.Source, error) {
	v := s.world.View(migrate.ClusterTarget)
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
func sourceWithoutAPI(ctx context.Context, s *session) (backup.Source, error) {
	v := s.world.View(migrate.ClusterTarget)
	e, err := v.Etcd(ctx)
	if err != nil {
		return backup.Source{}, err
	}
	return backup.Source{Members: e, Node: v.On(v.First().Name), Cluster: s.spec.Name}, nil
}

// backedUpPhases are those before whose first change a backup is taken.
var backedUpPhases = []int{2, 3}

// justBefore is how long before its phase's begin a backup was taken: the
// health of the cluster may have been waited for in between.
const justBefore = 15 * time.Minute

// backUp takes a backup before the first change of a phase. A phase that is
// half done goes on without one where none can be had: half of it is a worse
// place to stay in.
func (w *watched) backUp(ctx context.Context, p phases.Phase) error {
	if !slices.Contains(backedUpPhases, p.Number) {
		return nil
	}
	under, since, err := underWay(w.j, p)
	if err != nil {
		return err
	}
	if w.noBackup {
		w.measuring.tell(fmt.Sprintf("no backup is taken before phase %d: --no-backup", p.Number))
		return nil
	}
	if under {
		if has, err := hasBackup(backup.Dir(w.s.journal), p.Number, since); err != nil || has {
			return err
		}
	} else if idle, err := w.nothingToDo(ctx, p); err != nil || idle {
		return err
	}
	err = w.takeBackup(ctx, p)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if under {
		w.measuring.tell(fmt.Sprintf("going on without a backup, since phase %d is half done: %v", p.Number, err))
		return nil
	}
	return &migrate.BlockedError{Where: migrate.Where{Phase: p.Number}, Err: err,
		Reason: fmt.Sprintf("there is no backup to begin phase %d with: %v", p.Number, err),
		Remedy: "nothing was changed; mend that and run again, or go without: --no-backup"}
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

func (w *watched) takeBackup(ctx context.Context, p phases.Phase) error {
	began := time.Now()
	tell := func(kind migrate.EventKind, message string) {
		w.events.Event(migrate.Event{Kind: kind, Phase: p.Number, PhaseName: p.Name, Title: "Back up before phase", Message: message, At: time.Now(), Elapsed: time.Since(began)})
	}
	src, err := backupSource(ctx, w.s)
	if err != nil {
		return err
	}
	set, err := backup.Take(ctx, src, backup.Options{Dir: backup.Dir(w.s.journal), Phase: p.Number, Tool: version,
		Say: func(message string) { tell(migrate.EventBackupStarted, message) }})
	if err != nil {
		return err
	}
	tell(migrate.EventBackupDone, set.Summary())
	var all []runrecord.Backup
	if _, err := w.j.GetBlob(runrecord.BackupsBlob, &all); err != nil {
		return errors.Join(err, errors.New("the backup itself is there"))
	}
	return w.j.PutBlob(runrecord.BackupsBlob, append(all, runrecord.Backup{
		Phase: p.Number, At: set.At, Seconds: time.Since(began).Seconds(), Folder: set.Folder, Member: set.Etcd.Host, Version: set.Etcd.Version,
		Revision: set.Etcd.Revision, Keys: set.Etcd.Keys, Bytes: set.Etcd.Bytes, Hash: set.Etcd.Hash, Files: set.Kubernetes.Files,
	}))
}
