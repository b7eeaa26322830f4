package sshhost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// shell runs one of our scripts by the real sh, as sshd would.
func shell(script string, stdin io.Reader) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdin = stdin
	return cmd
}

// writing is the script and the input that write f.
func writing(f remote.File) (script, stdin string) {
	return writeVariables(f.Path, f, int64(len(f.Data))) + writeScript,
		fmt.Sprintf("%s%x\n", f.Data, sha256.Sum256(f.Data))
}

// TestCutUploadChangesNothing cuts the input of the script anywhere, the
// place where the connection may be lost.
func TestCutUploadChangesNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	rapid.Check(t, func(t *rapid.T) {
		if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")
		script, stdin := writing(remote.File{Path: file, Data: data, Mode: 0o600})
		cut := rapid.IntRange(0, len(stdin)-2).Draw(t, "cut") // without the line break it is whole
		if err := shell(script, strings.NewReader(stdin[:cut])).Run(); err == nil {
			t.Fatal("no error")
		}
		got, err := os.ReadFile(file)
		entries, _ := os.ReadDir(dir)
		if err != nil || string(got) != "old" || len(entries) != 1 {
			t.Fatalf("got %q, %v, %v", got, err, entries)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
			t.Fatalf("got %v, %v", info.Mode(), err)
		}
	})
}

// TestConnectionCutWhileWriting does the same through a connection.
func TestConnectionCutWhileWriting(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newServer(t)
	h := s.dial()
	dir := filepath.Join(s.home, "d")
	file := filepath.Join(dir, "f")
	writeFile(t, file, "old")
	from := &endless{begun: make(chan struct{})}
	go func() {
		<-from.begun
		s.cut()
	}()
	err := h.Copy(t.Context(), from, "/any", remote.File{Path: file})
	if !errors.Is(err, errGone) || h.Lost() != 1 {
		t.Errorf("%d connections lost, then %v", h.Lost(), err)
	}
	for left := -1; left != 1; { // the script ends behind our back
		names, err := h.List(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		left = len(names)
	}
	if got, err := h.ReadFile(t.Context(), file); err != nil || string(got.Data) != "old" {
		t.Errorf("got %q, %v", got.Data, err)
	}
}

// endless streams a file of 1 TiB, and says when it is well begun. It can be
// opened once.
type endless struct {
	remote.Reader
	begun  chan struct{}
	opened bool
}

var errGone = errors.New("the source is gone")

func (*endless) Name() string { return "endless" }

func (e *endless) Open(context.Context, string) (io.ReadCloser, int64, error) {
	if e.opened {
		return nil, 0, errGone
	}
	e.opened = true
	read := 0
	return struct {
		io.Reader
		io.Closer
	}{readFunc(func(p []byte) (int, error) {
		if read < 8<<20 && read+len(p) >= 8<<20 {
			close(e.begun)
		}
		read += len(p)
		return len(p), nil
	}), io.NopCloser(nil)}, 1 << 40, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestLateWriterIsFenced: a script that lives on behind a lost connection
// must not undo what was written later.
func TestLateWriterIsFenced(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	oldScript, oldInput := writing(remote.File{Path: file, Data: []byte("old")})
	r, w := io.Pipe()
	late := shell(oldScript, r)
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	for temps := 0; temps == 0; {
		found, err := filepath.Glob(filepath.Join(dir, ".f.migrate-*"))
		if err != nil {
			t.Fatal(err)
		}
		temps = len(found)
	}
	newScript, newInput := writing(remote.File{Path: file, Data: []byte("new")})
	if out, err := shell(newScript, strings.NewReader(newInput)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	io.WriteString(w, oldInput)
	w.Close()
	if err := late.Wait(); err == nil {
		t.Error("the late writer had success")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestSourceThatFails: the error is the source's, the target stays.
func TestSourceThatFails(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newServer(t).dial()
	file := filepath.Join(t.TempDir(), "f")
	writeFile(t, file, "kept")
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		content io.Reader
		size    int64
		want    error
	}{
		"fails":         {io.MultiReader(strings.NewReader("some"), readFunc(func([]byte) (int, error) { return 0, boom })), 9, boom},
		"fails at last": {io.MultiReader(strings.NewReader("some"), readFunc(func([]byte) (int, error) { return 0, boom })), 4, boom},
		"is short":      {strings.NewReader("some"), 9, io.ErrUnexpectedEOF},
		"grew":          {strings.NewReader("some"), 3, nil},
	} {
		err := h.Copy(t.Context(), source{content: test.content, size: test.size}, "/any", remote.File{Path: file})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := h.ReadFile(t.Context(), file); err != nil || string(got.Data) != "kept" {
			t.Errorf("%s: got %q, %v", name, got.Data, err)
		}
	}
}

// source is a remote.Streamer of one file.
type source struct {
	remote.Reader
	content io.Reader
	size    int64
}

func (source) Name() string { return "source" }

func (s source) Open(context.Context, string) (io.ReadCloser, int64, error) {
	return io.NopCloser(s.content), s.size, nil
}

// TestCopyInConstantMemory copies far more than it may hold. It is not
// parallel: it looks at the memory of the whole program.
func TestCopyInConstantMemory(t *testing.T) {
	needRoot(t)
	s := newServer(t)
	h := s.dial()
	const size = 96 << 20
	from := filepath.Join(s.home, "from")
	if err := os.WriteFile(from, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, stop, stopped := uint64(0), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.Tick(5 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
		}
	}()
	to := filepath.Join(s.home, "to")
	start := time.Now()
	err := h.Copy(t.Context(), h, from, remote.File{Path: to, Mode: 0o755})
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB in %v, peak heap %d MiB over %d", size>>20, time.Since(start), peak>>20, before.HeapAlloc>>20)
	if peak > before.HeapAlloc+size/2 {
		t.Errorf("peak heap is %d MiB", peak>>20)
	}
	if info, err := os.Stat(to); err != nil || info.Size() != size || info.Mode() != 0o755 {
		t.Errorf("got %v, %v", info, err)
	}
}

// TestCopyBetweenKindsOfHosts: a fake and a real host stream to each other.
func TestCopyBetweenKindsOfHosts(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h, fake := newServer(t).dial(), remotetest.New("fake")
	fake.Put(remote.File{Path: "/a", Data: []byte("from the fake")})
	file := filepath.Join(t.TempDir(), "f")
	if err := h.Copy(t.Context(), fake, "/a", remote.File{Path: file}); err != nil {
		t.Fatal(err)
	}
	if err := fake.Copy(t.Context(), h, file, remote.File{Path: "/b"}); err != nil {
		t.Fatal(err)
	}
	if got := string(fake.Snapshot()["/b"].Data); got != "from the fake" {
		t.Errorf("got %q", got)
	}
}

// TestHiddenIsNotAbsent: without the right to look into a folder nobody can
// say that a file is not there.
func TestHiddenIsNotAbsent(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, err := os.MkdirTemp("/tmp", "hidden")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for script, variable := range map[string]string{readScript: "f", listScript: "d", renameScript: "from"} {
		for path, hidden := range map[string]bool{dir + "/x": true, dir + "/x/y": true, "/tmp/absent/x": false} {
			cmd := shell(assign(variable, path, "to", "/tmp/absent/too")+script, nil)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.Output()
			if said := bytes.HasPrefix(out, []byte("absent")); said == hidden || (err != nil) != hidden {
				t.Errorf("%s %s: printed %q, %v", variable, path, out, err)
			}
		}
	}
}

func TestNothingButFilesIsWritten(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newServer(t).dial()
	dir := t.TempDir()
	pipe, loop := filepath.Join(dir, "pipe"), filepath.Join(dir, "loop")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, loop, "/dev/null"} {
		if err := h.WriteFile(t.Context(), remote.File{Path: path}); err == nil {
			t.Errorf("wrote %s", path)
		}
	}
	if _, err := h.ReadFile(t.Context(), pipe); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a pipe: %v", err)
	}
	if names, err := h.List(t.Context(), dir); err != nil || len(names) != 2 {
		t.Errorf("got %q, %v", names, err)
	}
}

// TestOwnerWithoutName: users of containers often have no name on the host.
func TestOwnerWithoutName(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newServer(t).dial()
	want := remote.File{Path: filepath.Join(t.TempDir(), "f"), Data: []byte{}, Mode: 0o600, Owner: "54321:root"}
	if err := h.WriteFile(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := h.ReadFile(t.Context(), want.Path); err != nil || got.Owner != want.Owner {
		t.Errorf("got %q, %v", got.Owner, err)
	}
	if err := h.WriteFile(t.Context(), remote.File{Path: want.Path, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.ReadFile(t.Context(), want.Path); err != nil || got.Owner != want.Owner {
		t.Errorf("kept %q, %v", got.Owner, err)
	}
}
