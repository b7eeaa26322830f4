package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// TestBackupIsNotTakenTwice: the backup of a phase that is under way is the
// one from just before it began, and none of an earlier attempt.
func TestBackupIsNotTakenTwice(t *testing.T) {
	t.Parallel()
	begun := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		phase int
		at    time.Time
		has   bool
	}{
		"just before":           {2, begun.Add(-time.Minute), true},
		"taken up on a resume":  {2, begun.Add(time.Hour), true},
		"of an earlier attempt": {2, begun.Add(-24 * time.Hour), false},
		"of another phase":      {3, begun.Add(-time.Minute), false},
	} {
		dir := t.TempDir()
		data, err := json.Marshal(backup.Manifest{Format: 1, At: c.at, Phase: c.phase})
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(dir, "one")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, backup.ManifestFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if has, err := hasBackup(dir, 2, begun); err != nil || has != c.has {
			t.Errorf("%s: %t, %v", name, has, err)
		}
	}
}

// TestUnderWay: a phase is under way from its first change to its end; begun
// and untouched, as after a rollback of all of it, it is not.
func TestUnderWay(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	is := func(want bool) {
		t.Helper()
		if under, _, err := underWay(j, migration.Phases(phases.Overlap)[1]); err != nil || under != want {
			t.Errorf("under way: %t, %v", under, err)
		}
	}
	is(false)
	if err := j.BeginPhase(2, "spec", "declaration", nil); err != nil {
		t.Fatal(err)
	}
	is(false)
	if _, err := j.Advance(state.Key{Phase: 2, Step: "etcd/user", Target: "e1"}, state.Change{Event: state.Start}); err != nil {
		t.Fatal(err)
	}
	is(true)
	end, err := j.BeginRun(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := end("done", true); err != nil {
		t.Fatal(err)
	}
	is(false)
}
