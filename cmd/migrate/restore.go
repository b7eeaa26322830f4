package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/backup"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/phases/restore"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name:   "restore",
		Before: noWords,
		Usage:  "the emergency door: make etcd's lost members anew from a snapshot",
		Description: "For etcd on hosts of its own whose data, or quorum, is lost for good. Every write since the\n" +
			"snapshot is lost with it; `migrate rollback` loses none and is the way back. Stops all API\n" +
			"servers, sets aside what is left, restores all members from one snapshot, and restarts what\n" +
			"remembers what is no more. Where a quorum answers it is refused. After a stop of any kind,\n" +
			"restore again: it goes on. docs/restore.md says what is lost, and how by hand.\n\n" + exitStatus,
		Flags: append(commonFlags(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "from", Usage: "the backup's `FOLDER` (default: the newest one beside the journal)"},
			&cli.BoolFlag{Name: "plan", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: restoreAction,
	}
}

// restoreMemberCommand is what a restore runs on an etcd host. It is not for
// people.
func restoreMemberCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "owner"}}
	for _, name := range []string{"snapshot", "data-dir", "name", "peer-url", "initial-cluster", "token"} {
		flags = append(flags, &cli.StringFlag{Name: name, Required: true})
	}
	return &cli.Command{
		Name: restore.MemberCommand, Hidden: true, Before: noWords,
		Usage: "restore one etcd member on its host; started by restore",
		Flags: flags,
		Action: func(c *cli.Context) error {
			return backup.Member{
				Snapshot: c.String("snapshot"), DataDir: c.String("data-dir"), Owner: c.String("owner"), Name: c.String("name"),
				PeerURL: c.String("peer-url"), InitialCluster: c.String("initial-cluster"), Token: c.String("token"),
			}.Restore()
		},
	}
}

// underRestore is the journal's blob of the restore that is under way, or of
// the last one.
type underRestore struct {
	ID     string    `json:"id"`
	Folder string    `json:"folder"`
	SHA256 string    `json:"sha256"` // of the snapshot
	Began  time.Time `json:"began"`
	Done   time.Time `json:"done,omitzero"`
}

const restoreBlob = "restore"

func restoreAction(c *cli.Context) (err error) {
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
	ctx, stop, done := stopOnSignals(c.Context, c.App.ErrWriter, "restore")
	defer done()
	defer func() { err = inOwnWords(ctx, err) }()
	set, under, err := chooseBackup(s, j, c.String("from"))
	if err != nil {
		return err
	}
	options, err := restoreOptions(s, set, under)
	if err != nil {
		return err
	}
	look, err := seeRestore(ctx, s, options)
	if err != nil {
		return err
	}
	p := restore.Phase(options)
	if err := printRestore(ctx, c.App.Writer, s, j, p, set, under, look); err != nil || c.Bool("plan") {
		return err
	}
	// In its middle the API is away, and the members may be.
	changed, err := toBeRestored(ctx, s, p)
	if err != nil {
		return err
	}
	if err := mayChange(ctx, s, changed); err != nil {
		return err
	}
	if !c.Bool("yes") {
		if err := askForRestore(ctx, c, stop, s.spec.Name); err != nil {
			return err
		}
		// The answer may have taken hours, in which somebody brought a quorum back.
		if _, err := seeRestore(ctx, s, options); err != nil {
			return err
		}
	}
	if err := runrecord.KeepHostKeys(j, s.pool.AcceptedHostKeys()); err != nil {
		return err
	}
	return runRestore(ctx, c, s, j, p, under, stop)
}

// seeRestore looks at what is there; its error is also why nothing may be
// restored.
func seeRestore(ctx context.Context, s *session, o restore.Options) (restore.Look, error) {
	look, err := o.See(ctx, s.world.View(migrate.ClusterTarget))
	if err == nil && look.Refused != "" {
		err = &migrate.BlockedError{Where: migrate.Where{Phase: restore.Number}, Reason: look.Refused, Remedy: "nothing was changed"}
	}
	return look, err
}

// runRestore keeps what is restored in the journal before the first change.
func runRestore(ctx context.Context, c *cli.Context, s *session, j *state.Journal, p phases.Phase, under underRestore, stop <-chan struct{}) error {
	if err := j.PutBlob(restoreBlob, under); err != nil {
		return err
	}
	bar := newProgress(c.App.ErrWriter)
	s.tellWaits(bar.waits)
	var events migrate.Events = bar
	if c.String("output") == "json" {
		events = jsonEvents{json.NewEncoder(c.App.Writer)}
	}
	r := migrate.Runner[phases.View, phases.Hands]{Env: s.world, Journal: j, Spec: restore.Fingerprint(s.spec),
		Events: both{changingWith(ctx), events, &runrecord.TimingRecorder{Journal: j, Log: s.log}}, Log: s.log, Stop: stop}
	if err := r.Run(ctx, p); err != nil {
		return unfinished(err)
	}
	under.Done = time.Now().UTC()
	if err := j.PutBlob(restoreBlob, under); err != nil {
		return err
	}
	_, err := show.Fprintf(c.App.ErrWriter, "Restored from %s. What was written after it is lost: restart operators that remember it, and let `migrate plan`\n"+
		"show which steps of the migration are newer than the snapshot. The remains of the old members are in %s/lost on their hosts, or in %s/migrate-lost where that is a disk of its own.\n", under.Folder, phases.StateDir, phases.EtcdDataDir)
	return err
}

// unfinished says what is to be done about a restore that did not end.
func unfinished(err error) error {
	switch {
	case errors.Is(err, migrate.ErrStopped):
		return fmt.Errorf("the restore was stopped halfway, and the API may be away: `migrate restore` goes on: %w", err)
	case errors.Is(err, restore.ErrOtherQuorum):
		return fmt.Errorf("this restore ends here, before it takes away what serves now: if it has stopped anything, move its manifests on the control-plane nodes from %s back to %s "+
			"and `systemctl enable --now etcd.service` on the etcd hosts: %w", phases.ParkedDir, kube.ManifestsDir, err)
	}
	return fmt.Errorf("the restore is not finished, `migrate restore` goes on with it: %w", err)
}

// chooseBackup is the backup of the restore that is under way, or the one that
// is named, or the newest.
func chooseBackup(s *session, j *state.Journal, from string) (backup.Set, underRestore, error) {
	var under underRestore
	known, err := j.GetBlob(restoreBlob, &under)
	if err != nil {
		return backup.Set{}, under, err
	}
	resumed := known && under.Done.IsZero()
	switch {
	case resumed && from != "" && !sameFolder(from, under.Folder):
		return backup.Set{}, under, fmt.Errorf("a restore from %s is under way: finish it with `migrate restore`, without --from", under.Folder)
	case resumed:
		from = under.Folder
	case from == "":
		sets, err := backup.List(backup.Dir(s.journal))
		if err != nil {
			return backup.Set{}, under, err
		}
		if len(sets) == 0 {
			return backup.Set{}, under, fmt.Errorf("there is no backup in %s: name one with --from", backup.Dir(s.journal))
		}
		from = sets[len(sets)-1].Folder
	}
	set, err := backup.Load(from)
	if err != nil {
		return backup.Set{}, under, err
	}
	id, err := j.Cluster()
	if err != nil {
		return backup.Set{}, under, err
	}
	if id != "" && set.Identity != "" && id != set.Identity {
		return backup.Set{}, under, fmt.Errorf("the backup %s is of another cluster (%s) than the journal %s (%s): name another with --from", from, set.Identity, s.journal, id)
	}
	if resumed {
		if set.Etcd.SHA256 != under.SHA256 {
			return backup.Set{}, under, fmt.Errorf("the snapshot in %s is another one than the restore was begun with", from)
		}
		return set, under, nil
	}
	// It is gone on with from wherever the next command is run.
	if set.Folder, err = filepath.Abs(set.Folder); err != nil {
		return backup.Set{}, under, fmt.Errorf("naming the backup's folder: %w", err)
	}
	now := time.Now().UTC()
	return set, underRestore{ID: "restore-" + strings.ToLower(now.Format("20060102T150405Z")) + "-" + set.Etcd.SHA256[:8], Folder: set.Folder, SHA256: set.Etcd.SHA256, Began: now}, nil
}

func sameFolder(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func restoreOptions(s *session, set backup.Set, under underRestore) (restore.Options, error) {
	id, err := backup.ClusterID(restore.InitialCluster(s.spec), under.ID)
	if err != nil {
		return restore.Options{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return restore.Options{}, fmt.Errorf("finding this program, to copy it to the etcd hosts: %w", err)
	}
	sum, err := sumOf(program)
	if err != nil {
		return restore.Options{}, fmt.Errorf("reading this program, to copy it to the etcd hosts: %w", err)
	}
	return restore.Options{
		ID: under.ID, ClusterID: id, Revision: set.Etcd.Revision, FitsServer: set.Etcd.FitsServer, RunsOn: remote.RunsOn,
		Snapshot: restore.Upload{From: localFiles{}, Path: set.Path(set.Etcd.Name), SHA256: set.Etcd.SHA256},
		Program:  restore.Upload{From: localFiles{}, Path: program, SHA256: sum},
	}, nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// printRestore says what is true now, what will be done and what is lost.
func printRestore(ctx context.Context, w io.Writer, s *session, j *state.Journal, p phases.Phase, set backup.Set, under underRestore, look restore.Look) error {
	for _, m := range look.Members {
		if !m.Answers {
			show.Fprintf(w, "%s: its member does not answer, etcd.service is %s\n", m.Host, m.State)
			continue
		}
		show.Fprintf(w, "%s: its member answers at revision %d\n", m.Host, m.Revision)
		if m.Revision > set.Etcd.Revision && m.Revision < backup.RevisionBump {
			show.Fprintf(w, "   that is %d later than the backup: `migrate backup` saves it, and the restore then takes that one\n", m.Revision-set.Etcd.Revision)
		}
	}
	show.Fprintf(w, "Control-plane nodes with an API server: %s. All of them will be stopped: the API is away until the end.\n", strings.Join(look.Planes, ", "))
	entries, err := migrate.Plan(ctx, s.world, p, j)
	if err != nil {
		return err
	}
	t := tabular.New(w, "step", "on", "what is true now")
	for _, e := range entries {
		t.Add(e.Title, e.Target, e.Finding.Reason)
	}
	t.Render()
	age := time.Since(set.At).Round(time.Second)
	_, err = show.Fprintf(w, "From %s: etcd %s at revision %d, %d keys, taken %s ago (%s).\nEvery write of these %s is lost. The new cluster counts on from revision %d.\n",
		under.Folder, set.Etcd.Version, set.Etcd.Revision, set.Etcd.Keys, age, set.At.Format(time.RFC3339), age, set.Etcd.Revision+backup.RevisionBump)
	return err
}

func askForRestore(ctx context.Context, c *cli.Context, stop <-chan struct{}, name string) error {
	if noTerminal(c) {
		return errors.New("there is no terminal to ask on: look at `migrate restore --plan` and add --yes")
	}
	answer, err := question(ctx, c, stop, "Type the cluster's name (%s) to lose these writes and restore: ", name)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("that is not %q: nothing was changed; %w", name, migrate.ErrStopped)
	}
	return nil
}
