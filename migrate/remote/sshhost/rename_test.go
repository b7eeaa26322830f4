package sshhost

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
)

// mounted returns a folder on a file system of its own with that many KiB.
func mounted(t *testing.T, size string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// tree makes a folder with a file, a link and a mode worth keeping.
func tree(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "member", "wal"), strings.Repeat("x", 10000))
	if err := errors.Join(os.Symlink("wal", filepath.Join(dir, "member", "link")),
		os.Chmod(filepath.Join(dir, "member"), 0o711), os.Chown(dir, 1, 1)); err != nil {
		t.Fatal(err)
	}
}

func wantTree(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "member", "wal"))
	link, linkErr := os.Readlink(filepath.Join(dir, "member", "link"))
	info, infoErr := os.Stat(filepath.Join(dir, "member"))
	if err := errors.Join(err, linkErr, infoErr); err != nil || len(data) != 10000 || link != "wal" || info.Mode().Perm() != 0o711 {
		t.Errorf("%s: %d bytes, link %s, %v, %v", dir, len(data), link, info, err)
	}
}

func wantOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err != nil || strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q (%v), want %q", dir, names, err, want)
	}
}

func TestRenameAcrossFileSystems(t *testing.T) {
	t.Parallel()
	to := mounted(t, "1M")
	from := t.TempDir()
	h := newServer(t).dial()
	tree(t, filepath.Join(from, "etcd"))
	for range 2 { // the second time it was done before
		if err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "old")); err != nil {
			t.Fatal(err)
		}
		wantTree(t, filepath.Join(to, "old"))
		wantOnly(t, from)
		wantOnly(t, to, "old")
	}
	tree(t, filepath.Join(from, "etcd"))
	if err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "old")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	wantTree(t, filepath.Join(from, "etcd"))
}

// TestRenameOverABindMount: the device is the same, yet rename(2) refuses.
func TestRenameOverABindMount(t *testing.T) {
	t.Parallel()
	base := mounted(t, "1M")
	from, to := filepath.Join(base, "from"), filepath.Join(base, "to")
	tree(t, filepath.Join(from, "etcd"))
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", to, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer exec.Command("umount", to).Run()
	h := newServer(t).dial()
	if err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "etcd")); err != nil {
		t.Fatal(err)
	}
	wantTree(t, filepath.Join(to, "etcd"))
	wantOnly(t, from)
	wantOnly(t, to, "etcd")
}

// TestRenameToFullDisk: the source is put back.
func TestRenameToFullDisk(t *testing.T) {
	t.Parallel()
	to := mounted(t, "8k")
	from := t.TempDir()
	h := newServer(t).dial()
	tree(t, filepath.Join(from, "etcd"))
	err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "old"))
	var exit *remote.ExitError
	if !asExit(err, &exit) || !strings.Contains(exit.Stderr, "No space left") {
		t.Errorf("got %v", err)
	}
	wantTree(t, filepath.Join(from, "etcd"))
	wantOnly(t, from, "etcd")
	wantOnly(t, to)
}

// TestRenameCarriesOn: a move across file systems that a power failure cut,
// before and after the copy got its name.
func TestRenameCarriesOn(t *testing.T) {
	t.Parallel()
	to := mounted(t, "1M")
	from := t.TempDir()
	h := newServer(t).dial()
	tree(t, filepath.Join(from, ".etcd.migrate-moving"))
	writeFile(t, filepath.Join(to, ".old.migrate-moving", "half"), "x")
	if err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "old")); err != nil {
		t.Fatal(err)
	}
	wantTree(t, filepath.Join(to, "old"))
	wantOnly(t, from)
	wantOnly(t, to, "old")

	writeFile(t, filepath.Join(from, ".etcd.migrate-moving", "half removed"), "x")
	if err := h.Rename(t.Context(), filepath.Join(from, "etcd"), filepath.Join(to, "old")); err != nil {
		t.Fatal(err)
	}
	wantTree(t, filepath.Join(to, "old"))
	wantOnly(t, from)
}

func TestWriteToFullDisk(t *testing.T) {
	t.Parallel()
	dir := mounted(t, "8k")
	h := newServer(t).dial()
	file := filepath.Join(dir, "f")
	writeFile(t, file, "kept")
	err := h.WriteFile(t.Context(), remote.File{Path: file, Data: make([]byte, 20000)})
	var exit *remote.ExitError
	if !asExit(err, &exit) || !strings.Contains(exit.Stderr, "No space left") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "kept" {
		t.Errorf("got %q, %v", got, err)
	}
	wantOnly(t, dir, "f")
}
