package state

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary a process that writes a journal; see
// TestMain.
const childEnv = "HAMIGRATE_STATE_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job, os.Getenv(childEnv+"_PATH")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts step after step and prints the number of each one that the
// journal acknowledged.
func child(job, path string) error {
	j, err := Open(path, Options{Tool: job})
	if err != nil {
		return err
	}
	if job == "full" {
		limit := uint64(128 << 10)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		key := Key{1, "step", strconv.Itoa(i)}
		if _, err := j.Advance(key, Change{Event: Start, Before: before(strings.Repeat("x", 4000))}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func startChild(t *testing.T, job, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+job, childEnv+"_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

// hasAll fails unless the journal has the steps 0 to last, and at most one
// more (written, but killed before it was acknowledged).
func hasAll(t *testing.T, path string, last int) {
	t.Helper()
	j := open(t, path)
	recs := must[[]Record](t)(j.Records(1))
	log := must[[]LogEntry](t)(j.Log())
	if n := len(recs); n != last+1 && n != last+2 {
		t.Errorf("%d records, want %d", n, last+1)
	}
	if len(log) != len(recs) {
		t.Errorf("%d records and %d log entries", len(recs), len(log))
	}
	for i, r := range recs {
		if r.Target != strconv.Itoa(i) || r.Status != Started || len(r.Before["was"]) != 4000 {
			t.Fatalf("record %d is %s, %s, with a pre-image of %d", i, r.Target, r.Status, len(r.Before["was"]))
		}
	}
}

func TestKilledJournalHasAllThatItAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	cmd, out := startChild(t, "kill", path)
	last := -1
	for last < 100 && out.Scan() {
		last = must[int](t)(strconv.Atoi(out.Text()))
	}
	if _, err := OpenReadOnly(path, Options{Timeout: 50 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("reading while another process writes gave %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for out.Scan() { // what it wrote before it died
		last = must[int](t)(strconv.Atoi(out.Text()))
	}
	_ = cmd.Wait() // killed
	if last < 100 {
		t.Fatalf("the child got to %d only", last)
	}
	hasAll(t, path, last)
}

// TestFullDiskIsAnErrorBeforeTheEffect: the file may not grow any more; the
// write that would need it is an error, and all before it is there.
func TestFullDiskIsAnErrorBeforeTheEffect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	cmd, out := startChild(t, "full", path)
	last, said := -1, ""
	for out.Scan() {
		if n, err := strconv.Atoi(out.Text()); err == nil {
			last = n
		} else {
			said = out.Text()
		}
	}
	if err := cmd.Wait(); err == nil || last < 0 || !strings.Contains(said, "file too large") || !strings.Contains(said, "writing the journal "+path) {
		t.Fatalf("ended with %v after step %d, saying %q", err, last, said)
	}
	hasAll(t, path, last)
}

func TestReadOnlyPlaceIsAnErrorAtOpen(t *testing.T) {
	t.Parallel()
	// /proc takes no new files, not even from root.
	if _, err := Open("/proc/self/migrate.journal", Options{}); err == nil {
		t.Error("opened a journal where no file can be made")
	}
}
