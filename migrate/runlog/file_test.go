package runlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets a test run this program as another process that writes.
func TestMain(m *testing.M) {
	if path := os.Getenv("RUNLOG_TEST_WRITER"); path != "" {
		if err := writeMany(path, os.Getenv("RUNLOG_TEST_RUN")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const lines = 400

// small has room for a few dozen of the lines that writeMany writes.
var small = Limits{Bytes: 8 << 10, Keep: 100}

func writeMany(path, run string) error {
	f, err := Open(path, small)
	if err != nil {
		return err
	}
	for i := range lines {
		if err := f.Write(Entry{At: time.Now().UTC(), PID: os.Getpid(), Run: run, Kind: Out, Text: strconv.Itoa(i) + strings.Repeat(" x", i%50)}); err != nil {
			return err
		}
	}
	return f.Close()
}

// TestTwoProcessesWriteWholeLines, also while the file is put away again and again:
// nothing is lost, nothing is mixed, and each one's lines are in order.
func TestTwoProcessesWriteWholeLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	var writers []*exec.Cmd
	for _, run := range []string{"a", "b", "c"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RUNLOG_TEST_WRITER="+path, "RUNLOG_TEST_RUN="+run)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, cmd)
	}
	for _, cmd := range writers {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for _, e := range all {
		number, _, _ := strings.Cut(e.Text, " ")
		if e.Kind != Out || number != strconv.Itoa(next[e.Run]) {
			t.Fatalf("%+v, wanted number %d of %q", e, next[e.Run], e.Run)
		}
		next[e.Run]++
	}
	if len(next) != 3 || next["a"] != lines || next["b"] != lines || next["c"] != lines {
		t.Errorf("there are %v", next)
	}
	if _, err := os.Stat(path + ".3"); err != nil {
		t.Errorf("nothing was put away: %v", err)
	}
	files, _ := filepath.Glob(path + "*")
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

// TestOnlyAsManyAreKept as the limits say, the newest of them.
func TestOnlyAsManyAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	f, err := Open(path, Limits{Bytes: 300, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 50 {
		if err := f.Write(Entry{At: time.Now().UTC(), Kind: Out, Text: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(path + "*")
	all, err := Read(path)
	if err != nil || len(files) != 3 || all[len(all)-1].Text != "49" || len(all) > 12 {
		t.Errorf("%d files, %d entries, %v", len(files), len(all), err)
	}
}

// TestWhatIsSomebodysIsNotTouched: no link and no pipe is written to, read, or put
// away.
func TestWhatIsSomebodysIsNotTouched(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path, theirs string) error{
		"is a symbolic link":   func(path, theirs string) error { return os.Symlink(theirs, path) },
		"has another name":     func(path, theirs string) error { return os.Link(theirs, path) },
		"is no regular file":   func(path, _ string) error { return unix.Mkfifo(path, 0o600) },
		"is a directory":       func(path, _ string) error { return os.Mkdir(path, 0o700) },
		"is a symbolic link, ": func(path, theirs string) error { return os.Symlink(filepath.Dir(theirs)+"/nothing", path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, theirs := filepath.Join(dir, "j.log"), filepath.Join(dir, "theirs")
			if err := errors.Join(os.WriteFile(theirs, []byte("theirs"), 0o644), make(path, theirs)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			f, err := Open(path, Limits{Bytes: 1})
			if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(name, ", ")) {
				t.Errorf("%v, %v", f, err)
			}
			if _, err := Read(path); err == nil && name != "has another name" {
				t.Error("it was read")
			}
			after, err := os.Lstat(path)
			if err != nil || before.Mode() != after.Mode() || !os.SameFile(before, after) {
				t.Errorf("before %v, after %v, %v", before, after, err)
			}
			info, _ := os.Stat(theirs)
			if data, err := os.ReadFile(theirs); string(data) != "theirs" || err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("%q, %v, %v", data, err, info.Mode())
			}
			if _, err := os.Lstat(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("what the link leads to was made")
			}
		})
	}
}

// TestAFileThatWasLinkedStays where it is: only its name would go, and whoever
// linked it reads on.
func TestAFileThatWasLinkedStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	f, err := Open(path, Limits{Bytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(text string) {
		t.Helper()
		if err := f.Write(Entry{At: time.Now().UTC(), Kind: Out, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	if err := os.Link(path, path+"-theirs"); err != nil {
		t.Fatal(err)
	}
	write("two")
	if _, err := os.Lstat(path + ".1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is linked was put away: %v", err)
	}
	if err := os.Remove(path + "-theirs"); err != nil {
		t.Fatal(err)
	}
	write("three")
	if all, err := Read(path); err != nil || len(all) != 3 || all[2].Text != "three" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := os.Lstat(path + ".1"); err != nil {
		t.Errorf("it was not put away then: %v", err)
	}
}

// TestAModeThatIsTooWideIsMended: what is in the log is for its owner.
func TestAModeThatIsTooWideIsMended(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestHalfALineIsNoEnd: what stands around it is read, also what others wrote there.
func TestHalfALineIsNoEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	whole := `{"at":"2026-01-02T03:04:05Z","kind":"out","text":"whole"}` + "\n"
	if err := os.WriteFile(path, []byte(whole+`{"at":"2026-`+"\nsomebody's\n\n"+`{"at":"2026-01-02T03:04:05Z","kind":"ran"}`+"\n"+whole+`{"half`), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Read(path)
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); err != nil || got != "out unread out unread" || all[1].Lines != 3 || all[3].Lines != 1 {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Read(path + "-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}

// TestFollowing sees each entry once, also where the log is made or put away
// meanwhile.
func TestFollowing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	follow, err := NewFollow(path)
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	f, err := Open(path, Limits{Bytes: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	for i := range 60 {
		if err := f.Write(Entry{At: time.Now().UTC(), Kind: Out, Text: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
		if i%3 != 0 {
			continue
		}
		got, err := follow.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			if e.Text != strconv.Itoa(seen) {
				t.Fatalf("%q came, wanted %d", e.Text, seen)
			}
			seen++
		}
	}
	if seen != 58 {
		t.Errorf("%d were seen", seen)
	}
	if files, _ := filepath.Glob(path + ".*"); len(files) == 0 {
		t.Error("nothing was put away")
	}
}

// TestOnlyTheLastIsRead, which may go over several files, while another runs; what
// stands before it is not looked at.
func TestOnlyTheLastIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	f, err := Open(path, Limits{Bytes: 20000, Keep: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(run string, kind Kind, text string) {
		t.Helper()
		e := Entry{At: time.Now().UTC(), Run: run, Kind: kind, Text: text}
		if kind == Begin {
			e.Begun = &Begun{}
		}
		if err := f.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	write("a", Begin, "")
	for range 5000 {
		write("a", Out, `"kind":"begin"`)
	}
	write("b", Begin, "")
	for range 300 {
		write("a", Out, "x")
		write("b", Out, "y")
	}
	got := map[Kind]int{}
	err = Each(path, true, func(e Entry) error {
		if e.Run != "b" {
			return fmt.Errorf("%+v", e)
		}
		got[e.Kind]++
		return nil
	})
	if err != nil || got[Begin] != 1 || got[Out] != 300 {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := Read(path); err != nil || len(all) < 5000 || !slices.IsSortedFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) }) {
		t.Errorf("%d, %v", len(all), err)
	}
}
