package apiserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
)

// fakeAPIServer is a process by the name of an API server, which writes into a
// log when it is signalled, and then ends.
type fakeAPIServer struct {
	dir     string
	process *exec.Cmd
}

func startAPIServer(t *testing.T) *fakeAPIServer {
	t.Helper()
	a := &fakeAPIServer{dir: t.TempDir()}
	a.process = exec.Command("/bin/sh", "-c", `printf kube-apiserver > /proc/$$/comm; trap 'echo told >> `+a.log()+`; exit' TERM; echo runs; while :; do sleep 0.01; done`)
	out, err := a.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.process.Process.Kill() //nolint:errcheck // it may have ended
		a.process.Wait()         //nolint:errcheck // it is ended by a signal
	})
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *fakeAPIServer) log() string { return filepath.Join(a.dir, "log") }

// stop runs stopScript in the real shell, and returns what it says and what
// was done, in its order: each look at the listener, which is there for so many
// looks, each change of the filter, and the signal.
func (a *fakeAPIServer) stop(t *testing.T, looks int) (said string, did []string) {
	t.Helper()
	program := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	program("nft", `case $1 in -f) cat >/dev/null; echo hold >> `+a.log()+`;; *) echo let-in >> `+a.log()+`;; esac`)
	program("conntrack", `echo forget >> `+a.log())
	program("ss", fmt.Sprintf(`echo look >> %[1]s; [ $(grep -c look %[1]s) -gt %[2]d ] || echo LISTEN`, a.log(), looks))
	script := strings.ReplaceAll(fmt.Sprintf(stopScript, "10.0.0.1", "6443", a.process.Process.Pid, listenerLooks), signalledMark, filepath.Join(a.dir, "mark"))
	sh := exec.Command("/bin/sh", "-c", script)
	sh.Env = append(os.Environ(), "PATH="+a.dir+":"+os.Getenv("PATH"))
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: it says %q", err, out)
	}
	text, err := os.ReadFile(a.log())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), strings.Fields(string(text))
}

// TestDropsUntilItSaysGoodbye: from before the signal until it listens no more,
// and then the filter goes.
func TestDropsUntilItSaysGoodbye(t *testing.T) {
	t.Parallel()
	a := startAPIServer(t)
	said, did := a.stop(t, 3)
	if err := a.process.Wait(); err != nil {
		t.Errorf("it was not signalled: %v", err)
	}
	// When the process writes into the log is its own affair.
	did = slices.DeleteFunc(did, func(s string) bool { return s == "told" })
	if got, want := strings.Join(did, " "), "look hold look look look let-in look forget"; said != "told" || got != want {
		t.Errorf("it says %q, and did %q, not %q", said, got, want)
	}
}

// TestSignalledOnce: a second signal would cut what it still answers. One that is
// found at its hooks by who carries on gets no packet until it says goodbye.
func TestSignalledOnce(t *testing.T) {
	t.Parallel()
	a := startAPIServer(t)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("%d %s\n", a.process.Process.Pid, strings.Fields(string(stat))[21])
	if err := os.WriteFile(filepath.Join(a.dir, "mark"), []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	said, did := a.stop(t, 2)
	if got, want := strings.Join(did, " "), "look hold look look let-in look forget"; said != "told" || got != want {
		t.Errorf("it says %q, and did %q, not %q", said, got, want)
	}
	if said, did := a.stop(t, 0); said != "told" || !strings.HasSuffix(strings.Join(did, " "), "look forget look look forget") {
		t.Errorf("of one that listens no more it says %q: %q", said, did)
	}
}

// TestNotSignalledBeforeItListens: it has no clients, and the kubelet's signal is
// the first one.
func TestNotSignalledBeforeItListens(t *testing.T) {
	t.Parallel()
	if said, did := startAPIServer(t).stop(t, 0); said != "" || strings.Join(did, " ") != "look" {
		t.Errorf("it says %q, and did %q", said, did)
	}
}

// TestDropsForABoundedTime: one whose hooks hang does not lose packets for ever,
// and that it still listens is told. All waits together are less than the
// kernel's.
func TestDropsForABoundedTime(t *testing.T) {
	t.Parallel()
	a := startAPIServer(t)
	said, did := a.stop(t, 1_000_000)
	did = slices.DeleteFunc(did, func(s string) bool { return s == "told" })
	if n := len(did); said != "listens" || n < listenerLooks || did[n-3] != "let-in" {
		t.Errorf("it says %q, and did %q", said, did)
	}
	limit, err := time.ParseDuration(dropLimit)
	if err != nil {
		t.Fatal(err)
	}
	// A look's three programs take some 10 ms.
	if waits := 100*time.Millisecond + listenerLooks*30*time.Millisecond + 200*time.Millisecond; waits >= limit {
		t.Errorf("the waits are %s, and the kernel ends the filter after %s", waits, limit)
	}
}

// TestTimeForAnswers: after an API server has said goodbye, and not before that,
// it has drainTime; who stops the run is heard at once.
func TestTimeForAnswers(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]time.Duration{"told\n": drainTime, "listens\n": 3*time.Second + drainTime, "": 0} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			host := remotetest.New("cp1")
			host.OnRun("ss -Hltn 'sport = :6443'", func(string, []byte) (string, error) {
				if time.Since(began) < 3*time.Second {
					return "LISTEN\n", nil
				}
				return "", nil
			})
			host.OnRun("readlink", func(string, []byte) (string, error) {
				return "71\n/usr/local/bin/kube-apiserver\nkube-apiserver\n--secure-port=6443\n.\n", nil
			})
			host.OnRun("conntrack -D", func(string, []byte) (string, error) { return "", nil })
			// The last one wins: this script forgets, too.
			host.OnRun("add table ip migrate_hold", func(string, []byte) (string, error) { return said, nil })
			w := phases.NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, one{host})
			p := process.Running{PID: 71}
			if err := StopProcess(t.Context(), w.Writer("cp1"), "10.0.0.1:6443", p); err != nil || time.Since(began) != want {
				t.Errorf("after %q: %s, not %s: %v", said, time.Since(began), want, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := StopProcess(ctx, w.Writer("cp1"), "10.0.0.1:6443", p); (err == nil) != (said == "") {
				t.Errorf("after %q, stopped: %v", said, err)
			}
		})
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
		w := phases.NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, one{host})
		p := process.Running{PID: 71}
		if delay != "" {
			p.Flags = kube.ParseFlags([]string{"--shutdown-delay-duration=" + delay})
		}
		if err := StopProcess(t.Context(), w.Writer("cp1"), "10.0.0.1:6443", p); err != nil || did != want {
			t.Errorf("with a delay of %q it was signalled %d times, not %d: %v", delay, did, want, err)
		}
	}
}
