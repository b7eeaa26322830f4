package outputfile

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSave: a regular file is replaced, a pipe is written to, and nothing
// of the migration's own is touched, by whatever name.
func TestSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	own := Own{at("migrate.yaml"), at("migrate.journal")}
	kept := []string{"migrate.yaml", "migrate.journal", "migrate.journal.lock-holder", "migrate.rehearsal.json", "migrate.journal.backups/one/etcd.db"}
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	must(os.MkdirAll(at("migrate.journal.backups/one"), 0o700), os.Mkdir(at("folder"), 0o700))
	for _, name := range append(kept, "page.html", "target.html") {
		must(os.WriteFile(at(name), []byte("before"), 0o600))
	}
	must(os.Link(at("migrate.journal"), at("hard")), os.Symlink("migrate.journal", at("soft")), os.Symlink("target.html", at("link.html")), os.Symlink("nowhere", at("dangling")),
		os.Symlink("migrate.journal.lock-holder", at("holder.html")), os.Symlink(dir, at("around")), os.Symlink("migrate.journal.backups/one", at("saved")))
	must(syscall.Mkfifo(at("pipe"), 0o600))
	piped := make(chan string, 1)
	go func() {
		got, _ := os.ReadFile(at("pipe"))
		piped <- string(got)
	}()
	for name, word := range map[string]string{
		"page.html": "", "new.html": "", "link.html": "", "dangling": "", "pipe": "",
		"migrate.yaml": "is the spec", "./folder/../migrate.journal": "is the journal", "hard": "is the journal", "soft": "is the journal",
		"migrate.journal.lock-holder": "a file of the journal's", "migrate.rehearsal.json": "what was rehearsed",
		"migrate.journal.backups": "among the backups", "migrate.journal.backups/one/etcd.db": "among the backups", "migrate.journal.backups/new": "among the backups",
		"holder.html": "a file of the journal's", "around/migrate.journal.lock-holder": "a file of the journal's", "around/migrate.journal": "is the journal", "saved/etcd.db": "among the backups", "saved/new": "among the backups",
		"folder": "is a folder", "missing/page.html": "there is no folder",
	} {
		file := dir + "/" + name
		err := Save("html", file, 0o600, own, func(w io.Writer) error { _, err := io.WriteString(w, "after"); return err })
		if word != "" {
			if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "--html") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "pipe" {
			continue
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != "after" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range kept {
		if got, err := os.ReadFile(at(name)); err != nil || string(got) != "before" {
			t.Errorf("%s is %q now, %v", name, got, err)
		}
	}
	if got := <-piped; got != "after" {
		t.Errorf("from the pipe came %q", got)
	}
	for name, want := range map[string]fs.FileMode{"pipe": fs.ModeNamedPipe, "link.html": fs.ModeSymlink, "page.html": 0} {
		if i, err := os.Lstat(at(name)); err != nil || i.Mode().Type() != want {
			t.Errorf("%s: %v, %v", name, i, err)
		}
	}
	if got, err := os.ReadFile(at("target.html")); err != nil || string(got) != "after" {
		t.Errorf("where the link leads: %q, %v", got, err)
	}
}
