package run

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/remote"
	"hamigrate/phases/restore"
	"hamigrate/state"
)

// chooseBackup is the backup of the restore that is under way, or the one that
// is named, or the newest.
func chooseBackup(s *Session, j *state.Journal, from string) (backup.Set, underRestore, error) {
	var under underRestore
	known, err := j.GetBlob(RestoreBlob, &under)
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
		sets, err := backup.List(backup.Dir(s.Journal))
		if err != nil {
			return backup.Set{}, under, err
		}
		if len(sets) == 0 {
			return backup.Set{}, under, fmt.Errorf("there is no backup in %s: name one with --from", backup.Dir(s.Journal))
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
		return backup.Set{}, under, fmt.Errorf("the backup %s is of another cluster (%s) than the journal %s (%s): name another with --from", from, set.Identity, s.Journal, id)
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

func restoreOptions(s *Session, local remote.Reader, set backup.Set, under underRestore) (restore.Options, error) {
	id, err := backup.ClusterID(restore.InitialCluster(s.Spec), under.ID)
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
		Snapshot: restore.Upload{From: local, Path: set.Path(set.Etcd.Name), SHA256: set.Etcd.SHA256},
		Program:  restore.Upload{From: local, Path: program, SHA256: sum},
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
