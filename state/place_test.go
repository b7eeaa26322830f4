package state

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A journal is a file in a folder that is there: no folder is made for a slip of
// the keys, nothing waits for a pipe.
func TestPlacesWithoutAJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "typo", "dir", "x"): "there is no folder " + filepath.Join(dir, "typo", "dir") + ": make it first",
		filepath.Join(dir, "file", "x"):        "there is no folder " + filepath.Join(dir, "file"),
		dir:                                    "is a folder: name a file in it",
		pipe:                                   "is a pipe or a device",
		"/dev/zero":                            "is a pipe or a device",
	} {
		for name, open := range map[string]func(string, Options) (*Journal, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
			j, err := open(path, Options{})
			if err == nil {
				_ = j.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %v, want %s", name, path, err, want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "typo")); err == nil {
		t.Error("a folder was made")
	}
}

// TestBlank: a journal without records is none.
func TestBlank(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	blank := func() bool {
		t.Helper()
		return must[bool](t)(Blank(path, Options{}))
	}
	if !blank() {
		t.Error("no file, and it is not blank")
	}
	j := open(t, path)
	end := must[func(string, bool) error](t)(j.BeginRun(1))
	if err := end("no connection", false); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if !blank() {
		t.Error("no step was begun, and it is not blank")
	}
	draft := must[*Journal](t)(Rebuild(path, Options{}))
	must[Record](t)(draft.Advance(Key{1, "a", "b"}, Change{Event: Start}))
	if err := draft.Install(path); err != nil {
		t.Fatalf("in the place of a blank one: %v", err)
	}
	if blank() {
		t.Error("a step was begun, and it is blank")
	}
	again := must[*Journal](t)(Rebuild(path, Options{}))
	if err := again.Install(path); err == nil || !strings.Contains(err.Error(), "meanwhile") {
		t.Errorf("in the place of one with records: %v", err)
	}
	_ = again.Close()
}

// What a panic of bbolt's says is not part of the sentence.
func TestDamageIsSaidInOneSentence(t *testing.T) {
	t.Parallel()
	err := guarded("x", func() error { var p *Journal; _ = p.path; return nil })
	want := (&FormatError{Path: "x"}).Error()
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
