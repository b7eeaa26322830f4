package overlap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
)

// told runs gentlyScript in the real shell, against a process by the name of
// an API server, and tells what happened in its order: each look at the
// listener, which is there for so many looks, each change of the filter, and
// the signal, which the process is ended by.
func told(t *testing.T, looks int) []string {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	// What the process does at its end stands in the same log.
	process := exec.Command("/bin/sh", "-c", `printf kube-apiserver > /proc/$$/comm; trap 'echo told >> `+log+`; exit' TERM; echo runs; while :; do sleep 0.01; done`)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer process.Wait()         //nolint:errcheck // it is ended by a signal
	defer process.Process.Kill() //nolint:errcheck // it may have ended
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	script("nft", `case $1 in -f) cat > `+dir+`/rules; echo hold >> `+log+`;; *) echo "$*" >> `+log+`;; esac`)
	script("conntrack", `echo forget >> `+log)
	script("ss", fmt.Sprintf(`echo look >> %[1]s; [ $(grep -c look %[1]s) -gt %[2]d ] || echo LISTEN`, log, looks))
	sh := exec.Command("/bin/sh", "-e", "-c", fmt.Sprintf(gentlyScript, "10.0.0.1", "6443", process.Process.Pid, listenerLooks))
	sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	began := time.Now()
	if said, err := sh.CombinedOutput(); err != nil || string(said) != "told\n" {
		t.Fatalf("%v: it says %q", err, said)
	}
	limit, err := time.ParseDuration(holdLimit)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); looks <= 3 && took > limit {
		t.Errorf("it took %s; the kernel ends the filter after %s", took, limit)
	}
	did, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(strings.ReplaceAll(string(did), "delete table ip "+holdTable, "let-in"), " ", "-"))
}

// TestHeldUntilItSaysGoodbye: from before the signal until it listens no more,
// and then the filter goes.
func TestHeldUntilItSaysGoodbye(t *testing.T) {
	t.Parallel()
	did := told(t, 3)
	// The signal and the first look come in any order.
	when := slices.Index(did, "told")
	if when < slices.Index(did, "hold") || when > slices.Index(did, "let-in") {
		t.Errorf("it did %q", did)
	}
	if got, want := strings.Join(slices.DeleteFunc(did, func(s string) bool { return s == "told" }), " "), "look hold look look look let-in forget"; got != want {
		t.Errorf("it did %q, not %q", got, want)
	}
}

// TestToldOnce: a second signal would cut what it still answers.
func TestToldOnce(t *testing.T) {
	t.Parallel()
	if got := strings.Join(told(t, 0), " "); got != "look" {
		t.Errorf("of a process that listens no more: %q", got)
	}
}

// TestHeldForABoundedTime: one whose hooks hang is not held for ever.
func TestHeldForABoundedTime(t *testing.T) {
	t.Parallel()
	did := told(t, 1_000_000)
	if n := len(did); n < listenerLooks || did[n-2] != "let-in" {
		t.Errorf("it did %q", did)
	}
}

// TestADelayIsLeftToTheKubelet: an API server that serves on for a while after
// the first signal would be cut by a second one in that time.
func TestADelayIsLeftToTheKubelet(t *testing.T) {
	t.Parallel()
	for delay, want := range map[string]int{"": 1, "0s": 1, "60s": 0, "nonsense": 0} {
		did := 0
		host := remotetest.New("cp1")
		host.OnRun("migrate_hold", func(string, []byte) (string, error) {
			did++
			return "", nil
		})
		w := phases.NewWorld(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, one{host})
		p := phases.Process{PID: 71}
		if delay != "" {
			p.Flags = kube.ParseFlags([]string{"--shutdown-delay-duration=" + delay})
		}
		if err := stopGently(t.Context(), w.Hands("cp1"), "cp1", "10.0.0.1:6443", p); err != nil || did != want {
			t.Errorf("with a delay of %q it was told %d times, not %d: %v", delay, did, want, err)
		}
	}
}
