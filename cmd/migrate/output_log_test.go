package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/runlog"
)

// logIn opens a log of a test.
func logIn(t *testing.T, path string) *commandlog.Log {
	t.Helper()
	l := commandlog.New(new(bytes.Buffer), []string{"migrate", "run", "--yes"}, "dev")
	l.Open(path, "migrate run")
	return l
}

// logText is a log as a person reads it, without times.
func logText(t *testing.T, path string) string {
	t.Helper()
	var out strings.Builder
	if _, err := (commandlog.View{All: true, W: &out}).Print(path); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3} `).ReplaceAllString(out.String(), "")
}

// TestWhatCouldNotBeShownIsKept, and said once an output; a terminal that has gone
// and a reader that has gone are no errors of who writes, a full disk is.
func TestWhatCouldNotBeShownIsKept(t *testing.T) {
	t.Parallel()
	for why, isError := range map[error]bool{syscall.EPIPE: false, syscall.ENOSPC: true} {
		path := filepath.Join(t.TempDir(), "j.log")
		l := logIn(t, path)
		var w *os.File
		if isError {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			w = full
		} else {
			r, pipe, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			w = pipe
		}
		defer w.Close()
		out := output{file: w, kind: runlog.Err, log: l}
		for _, line := range []string{"one\n", "two\n"} {
			if _, err := out.Write([]byte(line)); (err != nil) != isError {
				t.Errorf("%v: %v", why, err)
			}
		}
		l.End(0, nil)
		text := logText(t, path)
		if !strings.Contains(text, "| one\n! standard error can't be written to (") || !strings.Contains(text, "| two\n") || strings.Count(text, "can't be written") != 1 {
			t.Errorf("%v: %s", why, text)
		}
	}
}
