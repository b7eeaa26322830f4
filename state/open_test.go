package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func TestOpenMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "migrate.journal")
	open(t, path)
	for name, want := range map[string]fs.FileMode{path: 0o600, holderPath(path): 0o600} {
		if info := must[fs.FileInfo](t)(os.Stat(name)); info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), want)
		}
	}
}

func TestOpenMakesAnOpenFilePrivateAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if info := must[fs.FileInfo](t)(os.Stat(path)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

func TestReadingWhereThereIsNoJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	j := must[*Journal](t)(OpenReadOnly(path, Options{}))
	if recs := must[[]Record](t)(j.Records(1)); recs != nil {
		t.Errorf("records %v", recs)
	}
	if rec := must[Record](t)(j.Record(Key{1, "a", "b"})); rec.Status != Pending {
		t.Errorf("record %v", rec)
	}
	if runs := must[[]Run](t)(j.Runs()); runs != nil {
		t.Errorf("runs %v", runs)
	}
	if id := must[string](t)(j.Cluster()); id != "" {
		t.Errorf("cluster %q", id)
	}
	if ok := must[bool](t)(j.GetBlob("x", new(int))); ok {
		t.Error("blob")
	}
	if _, err := j.Advance(Key{1, "a", "b"}, Change{Event: Start}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a write gave %v", err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made something: %v", err)
	}
}

func TestReadersReadTogetherAndChangeNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	want := must[Record](t)(j.Advance(Key{1, "a", "b"}, Change{Event: Start}))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	content := must[[]byte](t)(os.ReadFile(path))
	one := must[*Journal](t)(OpenReadOnly(path, Options{}))
	two := must[*Journal](t)(OpenReadOnly(path, Options{}))
	for _, r := range []*Journal{one, two} {
		if diff := cmp.Diff(want, must[Record](t)(r.Record(want.Key))); diff != "" {
			t.Error(diff)
		}
		if err := r.PutBlob("x", 1); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a write gave %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(content, must[[]byte](t)(os.ReadFile(path))); diff != "" {
		t.Error("reading changed the file")
	}
}

func TestALockedJournalNamesItsHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	holder := open(t, path)
	for name, opener := range map[string]func(string, Options) (*Journal, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
		_, err := opener(path, Options{Timeout: 60 * time.Millisecond})
		var locked *LockedError
		if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) || locked.Holder == nil {
			t.Fatalf("%s gave %v", name, err)
		}
		if locked.Holder.PID != os.Getpid() || locked.Holder.Who != WhoAmI() {
			t.Errorf("%s names %+v", name, locked.Holder)
		}
		if !strings.Contains(err.Error(), WhoAmI()) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s says %q", name, err)
		}
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(holderPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the holder file outlived Close: %v", err)
	}
	open(t, path)
}

func TestAHolderFileLeftBehindLocksNobodyOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(holderPath(path), []byte(`{"pid":1,"who":"dead@host"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if h := readHolder(path); h == nil || h.Who != WhoAmI() {
		t.Errorf("holder %+v", h)
	}
}

func TestAFileOfAnotherFormatIsRefused(t *testing.T) {
	t.Parallel()
	newer := filepath.Join(t.TempDir(), "newer")
	j := open(t, newer)
	err := j.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		return errors.Join(put(meta, []byte(metaFormat), format+1), put(meta, []byte(metaTool), "v9.0.0"))
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	db := must[*bolt.DB](t)(bolt.Open(foreign, 0o600, nil))
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("key")); return err }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("apiVersion: v1\n", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]FormatError{
		newer:   {Path: newer, Found: format + 1, Tool: "v9.0.0"},
		foreign: {Path: foreign},
		text:    {Path: text},
	} {
		for name, opener := range map[string]func(string, Options) (*Journal, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
			content := must[[]byte](t)(os.ReadFile(path))
			_, err := opener(path, Options{Tool: "v1"})
			var got *FormatError
			if !errors.As(err, &got) || *got != want {
				t.Errorf("%s of %s gave %v, want %v", name, filepath.Base(path), err, &want)
			}
			if diff := cmp.Diff(content, must[[]byte](t)(os.ReadFile(path))); diff != "" {
				t.Errorf("%s changed %s", name, filepath.Base(path))
			}
		}
	}
}

// An empty file is what a kill between creating and initialising leaves.
func TestAnEmptyFileIsAnEmptyJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := must[*Journal](t)(OpenReadOnly(path, Options{}))
	if recs := must[[]Record](t)(r.Records(1)); recs != nil {
		t.Errorf("records %v", recs)
	}
	must[Record](t)(open(t, path).Advance(Key{1, "a", "b"}, Change{Event: Start}))
}

// TestASealOfAnEarlierVersionsTimeIsNone: a version that knows no seals leaves
// the last one behind when it writes.
func TestASealOfAnEarlierVersionsTimeIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	write := func(seals bool, cluster string) {
		t.Helper()
		db := must[*bolt.DB](t)(bolt.Open(path, 0o600, nil))
		defer db.Close()
		fn := func(tx *bolt.Tx) error { return put(tx.Bucket([]byte(bucketMeta)), []byte(metaCluster), cluster) }
		if err := db.Update(func(tx *bolt.Tx) error {
			if !seals {
				return fn(tx)
			}
			return errors.Join(sealed(tx, func(*bolt.Tx) error { return nil }), fn(tx))
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(false, "one")
	j := must[*Journal](t)(OpenReadOnly(path, Options{}))
	if id := must[string](t)(j.Cluster()); id != "one" {
		t.Errorf("cluster %q", id)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	write(true, "two") // after the seal, as damage would
	var wrong *FormatError
	if _, err := OpenReadOnly(path, Options{}); !errors.As(err, &wrong) {
		t.Errorf("what was changed after the seal gave %v", err)
	}
}
