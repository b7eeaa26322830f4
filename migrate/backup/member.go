package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// libraryMinor is the minor version of etcd whose restore is built in.
const libraryMinor = "3.6"

// RevisionBump is added to the snapshot's revision. Clients of the API
// (controllers, kubelets, kube-proxies) remember revisions that came after
// the snapshot; a cluster that counted on from the snapshot would give them
// other objects under revisions they know (kubernetes/kubernetes#118501). A
// busy cluster writes a hundred revisions a second at most: 1e9 are months.
const RevisionBump = 1_000_000_000

// Member is one member to be restored on the host it is for.
type Member struct {
	Snapshot       string // a file
	DataDir        string // is there, and has no "member" in it
	Name           string
	PeerURL        string
	InitialCluster string // name=URL,…, the same for all members
	Token          string // the same for all members, and never used before
	Owner          string // user whom the data belongs to; empty: who runs this
}

// Restore makes the member's data in a scratch folder inside the data folder,
// syncs it and renames it into place: it is there whole or not at all. It may
// be called again after it was killed.
func (m Member) Restore() error {
	if err := m.restore(); err != nil {
		return fmt.Errorf("restoring the etcd member %s: %w", m.Name, err)
	}
	return nil
}

func (m Member) restore() error {
	scratch, to := filepath.Join(m.DataDir, ".restoring"), filepath.Join(m.DataDir, "member")
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is there already: %w", to, fs.ErrExist)
	}
	// One that goes on behind a connection that was lost must not be joined
	// by a second one.
	held, err := os.Open(m.Snapshot)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another restore of this host is under way: %w", err)
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: m.Snapshot, Name: m.Name, OutputDataDir: scratch,
		PeerURLs: []string{m.PeerURL}, InitialCluster: m.InitialCluster, InitialClusterToken: m.Token,
		RevisionBump: RevisionBump, MarkCompacted: true,
	})
	if err != nil {
		return err
	}
	if err := m.handOver(scratch); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(scratch, "member"), to); err != nil {
		return err
	}
	return errors.Join(syncDir(m.DataDir), os.RemoveAll(scratch))
}

// handOver gives all files to the owner and syncs them.
func (m Member) handOver(folder string) error {
	uid, gid, err := m.owner()
	if err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if uid >= 0 {
			if err := os.Lchown(path, uid, gid); err != nil {
				return err
			}
		}
		return syncDir(path) // a file as well as a folder
	})
}

func (m Member) owner() (uid, gid int, err error) {
	if m.Owner == "" {
		return -1, -1, nil
	}
	u, err := user.Lookup(m.Owner)
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// ClusterID is the ID that members restored with this list and token have:
// etcd derives it from both.
func ClusterID(initialCluster, token string) (uint64, error) {
	urls, err := types.NewURLsMap(initialCluster)
	if err != nil {
		return 0, fmt.Errorf("reading the initial cluster %q: %w", initialCluster, err)
	}
	c, err := membership.NewClusterFromURLsMap(zap.NewNop(), token, urls)
	if err != nil {
		return 0, fmt.Errorf("reading the initial cluster %q: %w", initialCluster, err)
	}
	return uint64(c.ID()), nil
}

// FitsServer says why an etcd of a version can't be given a snapshot: an
// older minor version refuses the storage of a newer one, and of a newer one
// than is built in nothing is known.
func (s Snapshot) FitsServer(version string) error {
	have, err := minor(version)
	if err != nil {
		return err
	}
	from, err := minor(s.Version)
	if err != nil {
		return err
	}
	known, err := minor(libraryMinor)
	if err != nil {
		return err
	}
	switch {
	case have < from:
		return fmt.Errorf("the snapshot is of etcd %s, and an etcd %s cannot read what a newer one has written: install etcd %s", s.Version, version, s.Version)
	case have > known:
		return fmt.Errorf("this program restores members for etcd up to %s, and %s is newer: use etcdutl %s by hand", libraryMinor, version, version)
	}
	return nil
}

// minor makes a number of "3.6.8".
func minor(version string) (int, error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, fmt.Errorf("%q is no version of etcd", version)
	}
	major, err1 := strconv.Atoi(parts[0])
	n, err2 := strconv.Atoi(parts[1])
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%q is no version of etcd: %w", version, err)
	}
	return major*1000 + n, nil
}
