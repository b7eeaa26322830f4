package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hamigrate/migrate/etcd"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Members is etcd as a snapshot is taken from it; *etcd.Reader is one.
type Members interface {
	Statuses(context.Context) []etcd.Answer
	Snapshot(ctx context.Context, host string) (io.ReadCloser, error)
	CountKeys(ctx context.Context, host string, revision int64) (int64, error)
	HashKV(ctx context.Context, host string, revision int64) (hash uint32, compacted int64, err error)
}

// saveSnapshot streams a snapshot to a file, 0600, and checks it.
func saveSnapshot(ctx context.Context, path string, members Members, o Options) (Snapshot, error) {
	from, err := pickVoter(ctx, members, o.WithoutLeader)
	if err != nil {
		return Snapshot{}, err
	}
	if err := enoughSpace(filepath.Dir(path), from.Status.DBSize); err != nil {
		return Snapshot{}, err
	}
	o.Say(fmt.Sprintf("saving a snapshot of etcd from %s: %.1f MB", from.Host, float64(from.Status.DBSize)/1e6))
	if err := stream(ctx, path, members, from.Host); err != nil {
		return Snapshot{}, fmt.Errorf("saving a snapshot of etcd from %s: %w", from.Host, err)
	}
	o.Say("checking the snapshot: its own hash, a trial restore, and what the member says")
	s, err := checkSnapshot(ctx, path, members, from)
	if err != nil {
		return Snapshot{}, fmt.Errorf("checking the snapshot of etcd from %s: %w", from.Host, err)
	}
	return s, nil
}

// pickVoter takes the voter with the newest revision, and of equal ones not
// the leader, which has enough to do.
func pickVoter(ctx context.Context, members Members, withoutLeader bool) (etcd.Answer, error) {
	var best etcd.Answer
	var errs []error
	for _, a := range members.Statuses(ctx) {
		switch s := a.Status; {
		case a.Err != nil:
			errs = append(errs, a.Err)
		case s.Learner:
		case s.Leader == 0 && !withoutLeader:
			errs = append(errs, fmt.Errorf("the member on %s knows no leader: what it holds may be old", a.Host))
		case best.Host == "" || s.Revision > best.Status.Revision || s.Revision == best.Status.Revision && best.Status.Leader == best.Status.MemberID:
			best = a
		}
	}
	if best.Host == "" {
		return etcd.Answer{}, errors.Join(append(errs, errors.New("finding an etcd voter to take a snapshot from: there is none"))...)
	}
	return best, nil
}

// enoughSpace wants room for the snapshot, its copy of the trial restore, and
// some for the journal that is written beside it.
func enoughSpace(dir string, size int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("looking for space in %s: %w", dir, err)
	}
	free, want := int64(s.Bavail)*int64(s.Bsize), 2*size+size/10+64<<20
	if free < want {
		return fmt.Errorf("%s has %.0f MB of free space, and the backup with its check needs %.0f MB: make room, or name another --journal", filepath.Dir(dir), float64(free)/1e6, float64(want)/1e6)
	}
	return nil
}

// stall bounds the wait for the next bytes of a snapshot.
const stall = time.Minute

func stream(ctx context.Context, path string, members Members, host string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %s", stall)) })
	defer watchdog.Stop()
	content, err := members.Snapshot(ctx, host)
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, alive{content, watchdog}); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	return f.Sync()
}

// alive resets a watchdog with all that is read.
type alive struct {
	io.Reader
	watchdog *time.Timer
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.watchdog.Reset(stall)
	return n, err
}

// checkSnapshot asks etcd's tools and the member about the same revision.
func checkSnapshot(ctx context.Context, path string, members Members, from etcd.Answer) (Snapshot, error) {
	file, err := fileOf(path, SnapshotFile)
	if err != nil {
		return Snapshot{}, err
	}
	if err := whole(path, file.Bytes); err != nil {
		return Snapshot{}, err
	}
	status, err := snapshot.NewV3(zap.NewNop()).Status(path)
	if err != nil {
		return Snapshot{}, err
	}
	trial, err := tryRestore(path, status.Revision)
	if err != nil {
		return Snapshot{}, err
	}
	st := from.Status
	s := Snapshot{File: file, Host: from.Host, MemberID: fmt.Sprintf("%x", st.MemberID), ClusterID: fmt.Sprintf("%x", st.ClusterID),
		Version: st.Version, Storage: status.Version, Revision: status.Revision, Keys: status.TotalKey, Hash: fmt.Sprintf("%x", status.Hash),
		HashKV: fmt.Sprintf("%x", trial.hash), NoLeader: st.Leader == 0}
	if status.Revision < st.Revision {
		return Snapshot{}, fmt.Errorf("it ends at revision %d, and the member was at %d before it began", status.Revision, st.Revision)
	}
	if s.NoLeader {
		s.HashKVSame = "not compared: the member knows no leader"
		return s, nil
	}
	count, err := members.CountKeys(ctx, from.Host, status.Revision)
	if err != nil {
		return Snapshot{}, err
	}
	if count != int64(trial.keys) {
		return Snapshot{}, fmt.Errorf("it has %d keys at revision %d, and the member has %d", trial.keys, status.Revision, count)
	}
	s.HashKVSame, err = compareHash(ctx, members, from, status.Revision, trial)
	return s, err
}

// whole compares a snapshot with the SHA-256 that the member has put behind
// it. It comes first: a database is read through a memory map, and one that is
// cut short would end the program.
func whole(path string, size int64) error {
	if size%512 != sha256.Size {
		return fmt.Errorf("it is cut short: %d bytes are no whole pages with a checksum behind them", size)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, size-sha256.Size); err != nil {
		return err
	}
	want, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return fmt.Errorf("its SHA-256 is %x, and the member said %x", sum.Sum(nil), want)
	}
	return nil
}

// compareHash compares the hash of what was restored with the member's. Both
// are of one compaction only where no API server compacted in between, and
// the rule how to hash is that of a minor version.
func compareHash(ctx context.Context, members Members, from etcd.Answer, revision int64, trial restored) (string, error) {
	if !strings.HasPrefix(from.Status.Version, libraryMinor+".") {
		return fmt.Sprintf("not compared: the member runs etcd %s, the check is of %s", from.Status.Version, libraryMinor), nil
	}
	hash, compacted, err := members.HashKV(ctx, from.Host, revision)
	if err != nil {
		return "", err
	}
	if compacted != trial.compacted {
		return "not compared: etcd was compacted in between", nil
	}
	if hash != trial.hash {
		return "", fmt.Errorf("restored, it has the hash %x at revision %d, and the member has %x: they hold different data", trial.hash, revision, hash)
	}
	return "equal to the member's", nil
}

// restored is what a trial restore holds.
type restored struct {
	keys      int
	hash      uint32
	compacted int64
}

// tryRestore restores a snapshot into a scratch folder beside it, opens what
// came of it as a starting member does, and removes it again.
func tryRestore(path string, revision int64) (r restored, err error) {
	scratch := filepath.Join(filepath.Dir(path), "trial")
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	const name, peer = "trial", "http://127.0.0.1:2380"
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: name, OutputDataDir: scratch,
		PeerURLs: []string{peer}, InitialCluster: name + "=" + peer, InitialClusterToken: name,
	})
	if err != nil {
		return restored{}, fmt.Errorf("restoring it for a trial: %w", err)
	}
	be := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(scratch, "member", "snap", "db"))
	defer func() { err = errors.Join(err, be.Close()) }()
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	defer func() { err = errors.Join(err, store.Close()) }()
	// Every key but the empty one, as CountKeys asks: a database that was
	// restored with a bumped revision has an entry without a key.
	all, err := store.Range(context.Background(), []byte{0}, []byte{}, mvcc.RangeOptions{Rev: revision, Count: true})
	if err != nil {
		return restored{}, fmt.Errorf("reading what was restored for a trial: %w", err)
	}
	hash, _, err := store.HashStorage().HashByRev(revision)
	if err != nil {
		return restored{}, fmt.Errorf("hashing what was restored for a trial: %w", err)
	}
	return restored{keys: all.Count, hash: hash.Hash, compacted: hash.CompactRevision}, nil
}
