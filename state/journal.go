package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// format is the version of the file's layout.
const format = 1

// defaultTimeout is how long Open waits for the lock: long enough for a
// `status` that is just reading, short enough for a person.
const defaultTimeout = time.Second

// The buckets.
const (
	bucketMeta    = "meta"
	bucketRecords = "records" // phase NUL step NUL target → Record
	bucketLog     = "log"     // sequence → LogEntry
	bucketRuns    = "runs"    // sequence → Run
	bucketPhases  = "phases"  // number → Phase
	bucketBlobs   = "blobs"   // name → JSON
)

// The keys of the meta bucket.
const (
	metaFormat  = "format"
	metaTool    = "tool"    // version that wrote last
	metaCluster = "cluster" // identity of the cluster; metaSeal is the fourth
)

// Options of Open and OpenReadOnly. The zero value is good for use.
type Options struct {
	Tool    string           // this program's version, kept for the reader of the journal
	Timeout time.Duration    // how long to wait for the lock; 0 means 1 s
	Now     func() time.Time // nil means time.Now
	Strict  bool             // check the whole file after each commit (slow; for tests; panics)
}

// Journal is an open journal. It may be used by several goroutines.
type Journal struct {
	path     string
	tool     string
	now      func() time.Time
	db       *bolt.DB // nil: there is no file yet, and this one only reads
	readOnly bool
}

// Open opens the journal at path for reading and writing, and makes it (0600)
// when there is none. It writes
// once, so that a full disk or a read-only file system is an error here,
// before anything was done to the cluster.
//
// Errors: *LockedError (errors.Is ErrLocked) when another process has it
// open; *FormatError when a newer version wrote it or it is no journal.
func Open(path string, o Options) (*Journal, error) {
	if err := CheckPlace(path); err != nil {
		return nil, err
	}
	db, err := openBolt(path, o, false)
	if err != nil {
		return nil, err
	}
	j := newJournal(path, o, db, false)
	if err := j.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return j, nil
}

// OpenReadOnly opens the journal at path for reading. No file at path is an
// empty journal; none is made. Errors as Open; a run that is under way holds
// the lock, so that is a *LockedError too.
func OpenReadOnly(path string, o Options) (*Journal, error) {
	if err := CheckPlace(path); err != nil {
		return nil, err
	}
	// An empty file is what a kill between creating and initialising leaves;
	// bbolt would try to write to it.
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return newJournal(path, o, nil, true), nil
	}
	db, err := openBolt(path, o, true)
	if err != nil {
		return nil, err
	}
	j := newJournal(path, o, db, true)
	if err := db.View(j.checkFormat); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return j, nil
}

func openBolt(path string, o Options, readOnly bool) (*bolt.DB, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	if bad, err := damaged(path); err != nil || bad {
		return nil, errors.Join(err, &FormatError{Path: path})
	}
	var db *bolt.DB
	err := guarded(path, func() (err error) {
		if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType}); err != nil {
			return err
		}
		if err := db.View(readAll); err != nil {
			return errors.Join(err, db.Close())
		}
		return nil
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, &LockedError{Path: path, Holder: readHolder(path)}
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, &FormatError{Path: path}
	case err != nil:
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	db.StrictMode = o.Strict
	return db, nil
}

func newJournal(path string, o Options, db *bolt.DB, readOnly bool) *Journal {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &Journal{path: path, tool: o.Tool, db: db, readOnly: readOnly, now: func() time.Time { return now().UTC() }}
}

// prepare makes the buckets, notes who writes, and makes the file itself
// durable: bbolt syncs the file but not the folder that names it.
func (j *Journal) prepare() error {
	if err := os.Chmod(j.path, 0o600); err != nil {
		return fmt.Errorf("making the journal private: %w", err)
	}
	if err := j.db.Update(func(tx *bolt.Tx) error { return sealed(tx, j.initialise) }); err != nil {
		return fmt.Errorf("preparing the journal %s: %w", j.path, err)
	}
	if err := syncDir(filepath.Dir(j.path)); err != nil {
		return fmt.Errorf("syncing the journal's folder: %w", err)
	}
	return writeHolder(j.path, j.now())
}

func (j *Journal) initialise(tx *bolt.Tx) error {
	if first, _ := tx.Cursor().First(); first != nil {
		if err := j.checkFormat(tx); err != nil {
			return err
		}
	}
	for _, name := range []string{bucketMeta, bucketRecords, bucketLog, bucketRuns, bucketPhases, bucketBlobs} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return fmt.Errorf("making bucket %s: %w", name, err)
		}
	}
	meta := tx.Bucket([]byte(bucketMeta))
	if err := put(meta, []byte(metaFormat), format); err != nil {
		return err
	}
	return put(meta, []byte(metaTool), j.tool)
}

func (j *Journal) checkFormat(tx *bolt.Tx) error {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return &FormatError{Path: j.path}
	}
	found, _, err := get[int](meta, []byte(metaFormat))
	if err != nil {
		return err
	}
	tool, _, err := get[string](meta, []byte(metaTool))
	if err != nil {
		return err
	}
	if found < 1 || found > format {
		return &FormatError{Path: j.path, Found: found, Tool: tool}
	}
	return nil
}

// Path is the journal's file.
func (j *Journal) Path() string { return j.path }

// Close gives the journal back. It may be called more than once.
func (j *Journal) Close() error {
	if j.db == nil {
		return nil
	}
	var gone error
	if !j.readOnly {
		if err := os.Remove(holderPath(j.path)); !errors.Is(err, fs.ErrNotExist) {
			gone = err
		}
	}
	db := j.db
	j.db = nil
	return errors.Join(gone, db.Close())
}

// view runs fn in a read transaction; without a file it does nothing.
func (j *Journal) view(fn func(*bolt.Tx) error) error {
	if j.db == nil {
		return nil
	}
	return guarded(j.path, func() error { return j.db.View(fn) })
}

// update runs fn in a transaction that is on disk when update returns nil,
// and has left no trace when it returns an error.
func (j *Journal) update(fn func(*bolt.Tx) error) error {
	if j.readOnly {
		return ErrReadOnly
	}
	if j.db == nil {
		return berrors.ErrDatabaseNotOpen
	}
	if err := j.db.Update(func(tx *bolt.Tx) error { return sealed(tx, fn) }); err != nil {
		return fmt.Errorf("writing the journal %s: %w", j.path, err)
	}
	return nil
}

// get decodes the value at key; ok is false when there is none.
func get[T any](b *bolt.Bucket, key []byte) (v T, ok bool, err error) {
	data := b.Get(key)
	if data == nil {
		return v, false, nil
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, false, fmt.Errorf("decoding journal entry %q: %w", key, err)
	}
	return v, true, nil
}

func put(b *bolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding journal entry %q: %w", key, err)
	}
	if err := b.Put(key, data); err != nil {
		return fmt.Errorf("putting journal entry %q: %w", key, err)
	}
	return nil
}

func syncDir(path string) (err error) {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return dir.Sync()
}
