package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestGoVersions(t *testing.T) {
	t.Parallel()
	for have, ok := range map[string]bool{
		"go1.26.0": true, "go1.26.8": true, "go1.30": true, "go1.26.8 X:nodwarf5": true, "devel go1.27-abc": true,
		"go1.25.9": false, "go1.9": false, "go1.26rc1": false,
	} {
		if err := checkGo(have); (err == nil) != ok {
			t.Errorf("%s: %v", have, err)
		}
	}
}

func TestFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := checkSpace([]claim{{dir, 1}, {dir, 1}}); err != nil {
		t.Error(err)
	}
	// Two claims on one disk add up; the folder need not exist yet.
	missing := filepath.Join(dir, "not", "there")
	err := checkSpace([]claim{{missing, 1 << 61}, {dir, 1 << 61}})
	if err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), strconv.Itoa(1<<62)) {
		t.Errorf("got %v, want the folder %s and %d bytes", err, missing, 1<<62)
	}
}

func TestAptSources(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if got := aptSources(root); got != "" {
		t.Errorf("without any sources: %q", got)
	}
	list := filepath.Join(root, "etc/apt/sources.list")
	write(t, list, "deb http://deb.debian.org/debian bookworm main\n")
	if got := aptSources(root); got != list {
		t.Errorf("got %q, want %q", got, list)
	}
	write(t, filepath.Join(root, "etc/apt/sources.list.d/debian.sources"), "Suites: trixie\n")
	if got := aptSources(root); got != list {
		t.Errorf("got %q: a file of another release was taken", got)
	}
}

// compilePause builds the real pause program with the real go.
func compilePause(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("go is not on PATH")
	}
	dir := t.TempDir()
	if err := (hostTools{}).compile(context.Background(), pauseModule("9.8.7", pauseSource), dir, func() {}); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 1 || got[0] != "pause" {
		t.Fatalf("the folder holds %q, want pause only", got)
	}
	return filepath.Join(dir, "pause")
}

func TestPause(t *testing.T) {
	t.Setenv("GOFLAGS", "-mod=vendor") // of the module around: must not leak in
	t.Setenv("GOOS", "windows")
	pause := compilePause(t)
	if err := checkStatic(pause); err != nil {
		t.Error(err)
	}
	out, err := exec.Command(pause, "-v").Output()
	if err != nil || string(out) != "pause 9.8.7\n" {
		t.Errorf("-v printed %q, %v", out, err)
	}

	// The shell's child becomes pause's, as an orphan becomes process 1's.
	orphan := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command("sh", "-c", `sleep 0.1 & echo $! > "$1"; exec "$0"`, pause, orphan)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	until(t, "the orphan is reaped", func() bool {
		text, _ := os.ReadFile(orphan)
		pid := strings.TrimSpace(string(text))
		return pid != "" && !exists("/proc/"+pid)
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped with %v, want status 0", err)
	}
}

func TestCompilerErrorIsShown(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("go is not on PATH")
	}
	dir := t.TempDir()
	err := hostTools{}.compile(context.Background(), pauseModule("1", "package main\n\nfunc main() { undefined() }\n"), dir, func() {})
	var failed *commandError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	if got := entries(t, dir); len(got) > 0 {
		t.Errorf("%q was left", got)
	}
}

// until waits for a condition, 10 s at most.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
