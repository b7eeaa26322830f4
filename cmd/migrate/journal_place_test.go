package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/run"

	"github.com/hashicorp/go-hclog"
)

// TestJournalThatIsAnotherFile: the spec, by any name of it, and the files beside a
// journal are no journal, and no damaged one either.
func TestJournalThatIsAnotherFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	text := strings.ReplaceAll(sessionSpec, "%s", "22")
	if err := os.WriteFile(at("migrate.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link": "migrate.yaml", "other": "a.journal.log"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("migrate.yaml"), at("hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("a.journal.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	same, beside := "the spec and the journal are the same file, ", " has the name of a file that is kept beside the journal "+at("a.journal")+": name another"
	for name, want := range map[string]string{
		"migrate.yaml": same, "link": same, "hard": same,
		"a.journal.log": beside, "a.journal.log.1": beside, "a.journal.lock-holder": beside, "a.rehearsal.json": beside, "other": beside,
		"a.journal": "", "b": "", "a.journal.2": "", "a.journal.bak": "", "a.journal.sudo": "",
	} {
		s, err := run.Open(run.SessionOptions{File: at("migrate.yaml"), Journal: at(name), Log: hclog.NewNullLogger(), SSH: sshhost.Options{Home: dir}})
		if err == nil {
			s.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
