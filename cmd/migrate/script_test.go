package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/nodeprobe"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// TestMain lets the scripts run this test binary as `migrate`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"migrate":           func() { os.Exit(execute(os.Args)) },
		"migrate-as-nobody": runAsNobody,
	})
}

// runAsNobody is migrate without root's rights, for a test that has them.
func runAsNobody() {
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		fmt.Fprintln(os.Stderr, "giving up root's rights:", err)
		os.Exit(99)
	}
	os.Exit(execute(os.Args))
}

// TestScripts runs testdata/script: the command line as a user meets it. No
// script needs a cluster, and none may reach one that is there: rehearse is
// only ever run with a name that no playground can have, playground only with
// a --dir of the script's own.
func TestScripts(t *testing.T) {
	t.Parallel()
	// The scripts run this test's own program as migrate.
	if file, err := os.Executable(); err != nil || nodeprobe.StandsAlone(file) != nil {
		t.Fatalf("the tests of this package are to be built as the program is: CGO_ENABLED=0 go test ./cmd/migrate (%v)", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpScript,
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        cmdExits,
			"expand":       cmdExpand,
			"ssh-host":     cmdSSHHost,
			"journal":      cmdJournal,
			"hold-journal": cmdHoldJournal,
			"interrupt":    cmdInterrupt,
			"end-within":   cmdEndWithin,
		},
	})
}

// setUpScript gives each script a home folder with a key to log in with (and
// the same once more, as "locked", with the passphrase "open sesame"), and a
// port on which nobody listens.
func setUpScript(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return err
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("open sesame"))
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"id_ed25519": block, "locked": locked} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, closed, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	env.Setenv("HOME", home)
	env.Setenv("SSH_AUTH_SOCK", "")
	env.Setenv("TZ", "UTC")
	env.Setenv("CLOSED_PORT", closed)
	return l.Close()
}

// cmdExits: exits CODE PROGRAM [ARGS...] wants just that exit code, since
// exit codes are a contract; `! exec` takes any.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdExpand: expand FILE... replaces $NAME in files by the environment's.
func cmdExpand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

// cmdJournal: journal KIND FILE writes a journal. "part-done" has a phase 1
// that failed at its third step, "newer" is of a format that is still to be
// invented.
func cmdJournal(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[1])
	j, err := state.Open(file, state.Options{Tool: "v0.9", Now: clock()})
	ts.Check(err)
	if args[0] == "part-done" {
		fillJournal(ts, j)
	}
	ts.Check(j.Close())
	if args[0] != "newer" {
		return
	}
	db, err := bolt.Open(file, 0o600, nil)
	ts.Check(err)
	ts.Check(db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("99")) }))
	ts.Check(db.Close())
}

// clock ticks a second with each look, so that durations are the same in
// every run.
func clock() func() time.Time {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { now = now.Add(time.Second); return now }
}

func fillJournal(ts *testscript.TestScript, j *state.Journal) {
	ts.Check(j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: "small", KubernetesVersion: "v1.36.3", Strategy: string(phases.InPlace),
		StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}))
	end, err := j.BeginRun(1)
	ts.Check(err)
	ts.Check(j.BeginPhase(1, "sha256:spec", "sha256:steps", nil))
	advance := func(step, target string, changes ...state.Change) {
		for _, c := range changes {
			_, err := j.Advance(state.Key{Phase: 1, Step: step, Target: target}, c)
			ts.Check(err)
		}
	}
	start, apply := state.Change{Event: state.Start}, state.Change{Event: state.ApplyDone}
	advance("loadbalancer/serving-certificate", "cp1", start, apply, state.Change{Event: state.VerifyDone})
	advance("loadbalancer/nginx", "lb1", state.Change{Event: state.Found})
	advance("loadbalancer/nginx-stream", "lb1", start, state.Change{Event: state.Fail, Error: "nginx -t said no"})
	ts.Check(end("nginx -t said no", false))
}

// cmdHoldJournal: hold-journal FILE has the journal open for writing until
// the script's end, as a run in another terminal has.
func cmdHoldJournal(ts *testscript.TestScript, _ bool, args []string) {
	j, err := state.Open(ts.MkAbs(args[0]), state.Options{Tool: "v0.9"})
	ts.Check(err)
	ts.Defer(func() { ts.Check(j.Close()) })
}

func findProgram(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if file := filepath.Join(dir, name); exists(file) {
			return file
		}
	}
	ts.Fatalf("there is no program %s", name)
	return ""
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
