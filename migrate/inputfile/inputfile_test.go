package inputfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var small = Kind{What: "spec file", Max: 4 << 10, Patience: 200 * time.Millisecond}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := small.Read(file); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 4<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := small.Read(file); err != nil || len(data) != 4<<10 {
		t.Errorf("at the bound: %d bytes, %v", len(data), err)
	}
	if _, err := small.Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// What is no file that can be read to its end ends in time, with a sentence.
func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := func(name string) string {
		file := filepath.Join(dir, name)
		if err := syscall.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// A file with a hole is as large as one wants, and takes no room.
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 600<<20); err != nil {
		t.Fatal(err)
	}
	silent := fifo("silent")
	held, err := os.OpenFile(silent, os.O_RDWR, 0) // a writer that writes nothing
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for name, want := range map[string]string{
		dir:               "the spec file " + dir + " is a folder: name a file in it",
		"/dev/zero":       "the spec file /dev/zero has more than 4 KiB, which is no spec file",
		huge:              "the spec file " + huge + " has more than 4 KiB, which is no spec file",
		silent:            "the spec file " + silent + " had no end within 200ms: ",
		fifo("no-writer"): "had no end within 200ms: ",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := small.Read(name)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if read := after.TotalAlloc - before.TotalAlloc; read > 16<<20 {
			t.Errorf("%s took %d bytes of memory", name, read)
		}
	}
}

// A pipe with a writer is a file as any other.
func TestReadPipe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(file, []byte("hello"), 0) }()
	slow := small
	slow.Patience = time.Minute
	if data, err := slow.Read(file); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a": "a", "\ufeffa": "a", "": ""} {
		if got, err := Text([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"\xff\xfea\x00", "\xfe\xff\x00a"} {
		if _, err := Text([]byte(in)); err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("%q: %v", in, err)
		}
	}
}
