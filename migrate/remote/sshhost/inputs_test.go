package sshhost

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"hamigrate/internal/within"

	"github.com/skeema/knownhosts"
)

// TestFilesWithoutAnEnd: a device or a pipe in the place of a key or of the
// configuration ends the login in time, and takes no memory.
func TestFilesWithoutAnEnd(t *testing.T) {
	for _, name := range []string{".ssh/config", ".ssh/key", ".ssh/id_ed25519.pub", ".ssh/id_ed25519-cert.pub"} {
		s := newServer(t)
		file := filepath.Join(s.home, name)
		if err := os.Symlink("/dev/zero", file); err != nil {
			t.Fatal(err)
		}
		h := s.host()
		if name == ".ssh/key" {
			h.SSH.IdentityFile = file
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Dial(t.Context(), h, s.options())
		runtime.ReadMemStats(&after)
		if err == nil {
			c.Close()
		}
		if beside := strings.HasSuffix(name, ".pub"); beside != (err == nil) || err != nil && !strings.Contains(err.Error(), "has more than 1 MiB") {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s took %d MiB", name, took>>20)
		}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := readSmall("identity file", pipe); err == nil || !strings.Contains(err.Error(), "had no end within 5s") || time.Since(began) > time.Minute {
		t.Errorf("a pipe: %v", err)
	}
}

// TestLargeKnownHosts is read by lines, and has a bound.
func TestLargeKnownHosts(t *testing.T) {
	s := newServer(t)
	_, other := newKey(t)
	line := []byte(knownhosts.Line([]string{"192.0.2.1"}, other.PublicKey()) + "\n")
	file := filepath.Join(t.TempDir(), "known")
	writeFile(t, file, string(bytes.Repeat(line, 60<<20/len(line)))+knownhosts.Line([]string{s.address()}, s.key.PublicKey())+"\n")
	peak := within.HeapPeak(func() {
		known, err := readKnownKeys([]string{file}, s.address(), false)
		if err != nil || len(known.keys) != 1 {
			t.Errorf("%v", err)
		}
	})
	if peak > 32<<20 {
		t.Errorf("it took %d MiB", peak>>20)
	}
	for text, want := range map[string]string{
		string(bytes.Repeat(line, 65<<20/len(line))): "has more than 64 MiB",
		"a\n" + strings.Repeat("b", 300<<10):         "line 2 is longer than 256 KiB",
	} {
		writeFile(t, file, text)
		if _, err := readKnownKeys([]string{file}, s.address(), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
