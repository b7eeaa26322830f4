package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/migrate/remote"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Source is what a backup is taken from.
type Source struct {
	Members Members       // etcd's
	Node    remote.Reader // the first control-plane node
	// CertificatesDir is kubeadm-config's, "" where nobody tells it.
	CertificatesDir string
	// Cluster, Identity and KubernetesVersion go to the manifest.
	Cluster, Identity, KubernetesVersion string
}

// Options are how.
type Options struct {
	Dir   string // where the backup's folder is made
	Phase int    // whose first change it is taken before; 0: none
	Tool  string
	// WithoutLeader takes a snapshot also from a member that knows no leader:
	// what is left where the quorum is lost.
	WithoutLeader bool
	Say           func(string) // is told what is done; nil: nobody
	Now           func() time.Time
}

// Take makes a backup and checks it. What it made is removed where it fails,
// and is a leftover that the next Take removes where it is killed.
func Take(ctx context.Context, src Source, o Options) (Set, error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	free, err := prepare(o.Dir)
	if err != nil {
		return Set{}, err
	}
	defer free()
	at := o.Now().UTC()
	part, err := os.MkdirTemp(o.Dir, partPrefix) // 0700
	if err != nil {
		return Set{}, fmt.Errorf("making a folder for the backup: %w", err)
	}
	s, err := take(ctx, part, at, src, o)
	if err != nil {
		return Set{}, errors.Join(err, os.RemoveAll(part))
	}
	return s, nil
}

const (
	partPrefix = ".part-"
	lockFile   = ".lock"
)

// prepare makes the folder of all backups, for its owner alone, and removes
// what a Take that was killed has left. It holds the folder until free is
// called: what another Take is writing looks like such a leftover.
func prepare(dir string) (free func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for backups: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for backups private: %w", err)
	}
	held, err := locked(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			held.Close()
		}
	}()
	left, err := filepath.Glob(filepath.Join(dir, partPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		if err := os.RemoveAll(l); err != nil {
			return nil, fmt.Errorf("removing what a backup that was cut has left: %w", err)
		}
	}
	return func() { held.Close() }, nil
}

// hold locks a file, which ends with the process at the latest. The file stays:
// one that is removed may be locked by somebody all the same.
func locked(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the folder for backups: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("another backup is being taken into %s: wait until it is done and run again", filepath.Dir(file))
	case err != nil:
		err = fmt.Errorf("locking the folder for backups: %w", err)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

func take(ctx context.Context, part string, at time.Time, src Source, o Options) (Set, error) {
	s := Set{Folder: part, Manifest: Manifest{Format: format, Tool: o.Tool, At: at, Phase: o.Phase,
		Cluster: src.Cluster, Identity: src.Identity, KubernetesVersion: src.KubernetesVersion}}
	var err error
	if s.Etcd, err = saveSnapshot(ctx, s.Path(SnapshotFile), src.Members, o); err != nil {
		return Set{}, err
	}
	if s.Kubernetes, err = saveArchive(ctx, s.Path(ArchiveFile), at, src, o.Say); err != nil {
		return Set{}, err
	}
	data, err := json.MarshalIndent(s.Manifest, "", "  ")
	if err != nil {
		return Set{}, fmt.Errorf("writing the backup's manifest: %w", err)
	}
	if err := renameio.WriteFile(s.Path(ManifestFile), append(data, '\n'), 0o600); err != nil {
		return Set{}, fmt.Errorf("writing the backup's manifest: %w", err)
	}
	if s.Folder, err = publish(part, o.Dir, nameOf(at, o.Phase)); err != nil {
		return Set{}, err
	}
	return s, nil
}

// nameOf begins with the time, so that names sort by it.
func nameOf(at time.Time, phase int) string {
	name := at.Format("20060102T150405Z")
	if phase == 0 {
		return name + "-by-hand"
	}
	return fmt.Sprintf("%s-before-phase-%d", name, phase)
}

// publish gives the finished folder its name. Files were synced when they
// were written; here it is the names.
func publish(part, dir, name string) (string, error) {
	if err := syncDir(part); err != nil {
		return "", fmt.Errorf("saving the backup: %w", err)
	}
	for n := 1; ; n++ {
		to := filepath.Join(dir, name)
		if n > 1 {
			to += fmt.Sprintf("-%d", n)
		}
		if _, err := os.Lstat(to); err == nil {
			continue // two within a second
		}
		if err := os.Rename(part, to); err != nil {
			return "", fmt.Errorf("saving the backup: %w", err)
		}
		return to, syncDir(dir)
	}
}

func syncDir(path string) (err error) {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

// Summary is the backup in a line, for whoever waits for it.
func (s Set) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcd at revision %d from %s (%d keys, %.1f MB, hash %s)", s.Etcd.Revision, s.Etcd.Host, s.Etcd.Keys, float64(s.Etcd.Bytes)/1e6, s.Etcd.Hash)
	fmt.Fprintf(&b, " and %d files of /etc/kubernetes on %s, checked, in %s", s.Kubernetes.Files, s.Kubernetes.Node, s.Folder)
	return b.String()
}
