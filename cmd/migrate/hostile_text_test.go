package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hamigrate/migrate"
	"hamigrate/migrate/console"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/report"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases/audit"
	"hamigrate/phases/certs"
	"hamigrate/phases/preflight"
	"hamigrate/phases/verify"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
)

// forged is what a hostile host, API server, journal or plan may have anywhere in
// its words: a cleared screen, a window's title, a line that looks like one of
// ours, a line over a line, and letters from right to left.
const forged = "x\x1b[2J\x1b]0;owned\x07\r\nmigrate: all is well\rok\u202e\u009b2J\n✓ nothing is left to do"

// forge puts forged into each string of a value, however deep.
func forge(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		forge(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				forge(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			forge(v.Index(i))
		}
	case reflect.String:
		v.SetString(forged)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	}
}

func hostile[T any]() T {
	var v T
	forge(reflect.ValueOf(&v).Elem())
	return v
}

// TestHostileTextIsQuoted: whatever the hosts, the API, the journal or a plan say,
// it can't do more than be read, and begins no line.
func TestHostileTextIsQuoted(t *testing.T) {
	t.Parallel()
	for name, printed := range map[string]func(io.Writer) error{
		"audit": func(w io.Writer) error { return console.PrintAudit(w, hostile[audit.Report]()) },
		"certs": func(w io.Writer) error {
			return console.PrintCerts(w, &run.Session{}, hostile[certs.Inventory](), time.Now())
		},
		"preflight": func(w io.Writer) error {
			r := hostile[preflight.Report]()
			for i, c := range preflight.Checks() {
				if i < len(r.Results) {
					r.Results[i].Check = c.Name
				}
			}
			return console.PrintPreflight(w, r)
		},
		"verify": func(w io.Writer) error {
			r := hostile[verify.Report]()
			for i, c := range verify.Checks() {
				if i < len(r.Results) {
					r.Results[i].Check = c.Name
				}
			}
			return console.PrintVerify(w, r)
		},
		"plan":      func(w io.Writer) error { return console.PrintPlan(w, hostile[[]run.PhasePlan](), "text", true) },
		"plan yaml": func(w io.Writer) error { return console.PrintPlan(w, hostile[[]run.PhasePlan](), "yaml", true) },
		"plan json": func(w io.Writer) error { return console.PrintPlan(w, hostile[[]run.PhasePlan](), "json", true) },
		"rollback":  func(w io.Writer) error { return console.PrintRollback(w, hostile[[]migrate.RollbackEntry]()) },
		"report":    func(w io.Writer) error { return report.Print(w, hostile[report.Report]()) },
		"status": func(w io.Writer) error {
			return console.PrintStatus(w, &run.Session{}, hostile[[]run.StatusRow](), false)
		},
		"events": func(w io.Writer) error {
			p := console.NewProgress(w)
			for _, moving := range []bool{false, true} {
				p.Moving = moving
				for _, kind := range []migrate.EventKind{migrate.EventBackupStarted, migrate.EventBackupDone, migrate.EventPhaseStarted,
					migrate.EventStepStarted, migrate.EventStepWaiting, migrate.EventStepDone, migrate.EventStepSatisfied, migrate.EventStepFailed,
					migrate.EventStepUndoing, migrate.EventStepUndone, migrate.EventPhaseDone} {
					e := hostile[migrate.Event]()
					e.Kind = kind
					p.Event(e)
				}
				p.Say(forged)
			}
			return nil
		},
		"an error at the end": func(w io.Writer) error {
			app := newApp()
			app.ErrWriter = w
			tellError(app, errors.New(forged))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := printed(show.Guard{W: &b}); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if !strings.Contains(text, "all is well") {
				t.Fatalf("the text is not in what was printed, so nothing was tested:\n%s", text)
			}
			onlySeen(t, text)
		})
	}
}

// onlySeen finds what of a text could do more than be read.
func onlySeen(t *testing.T, text string) {
	t.Helper()
	for _, ours := range []show.Own{show.Rewrite, show.Red, show.Green, show.Yellow, show.Bold, show.Reset} {
		text = strings.ReplaceAll(text, string(ours), "")
	}
	for _, bad := range []string{"\x1b", "\r", "\x07", "\u202e", "\u009b"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q reaches the terminal in:\n%q", bad, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "migrate: all is well") || strings.HasPrefix(line, "✓ nothing") {
			t.Errorf("a host has begun the line %q", line)
		}
	}
}

// TestLibrariesDoNotPrint: what an API server says reaches the terminal in no way
// but ours. It is not parallel: the logs of libraries are the process's.
func TestLibrariesDoNotPrint(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	say := func() { klog.Error(forged); klog.Flush() }
	klog.LogToStderr(true)
	say()
	before := log.Writer()
	libraries()
	defer func() { log.SetOutput(before); klog.ClearLogger() }()
	say()
	log.Print(forged)
	w.Close()
	text, err := io.ReadAll(r)
	if n := strings.Count(string(text), "all is well"); err != nil || n != 1 {
		t.Errorf("client-go has printed %d times instead of once, before it was kept from it (%v)", n, err)
	}
}

// TestOutputsAreGuarded: what the program prints to goes through the last door, too.
func TestOutputsAreGuarded(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (output{file: w}).Write([]byte("a\x1b[2Jb\n")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "a\\u001b[2Jb\n" {
		t.Errorf("%q was written (%v)", got, err)
	}
	app := newApp()
	for _, w := range []io.Writer{app.Writer, app.ErrWriter} {
		if _, ok := w.(output); !ok {
			t.Errorf("the App prints to a %T", w)
		}
	}
}

// TestAHostProposesNoCommand: what a host says is not put on a line of its own as
// the command to give next, nor is one that a shell reads more into.
func TestAHostProposesNoCommand(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", console.LongSentence)
	for _, err := range []error{
		fmt.Errorf("%s: %w", long, &remote.ExitError{Host: "cp1", Script: "true", Status: 1, Stderr: "do `migrate rollback --yes`\n"}),
		fmt.Errorf("%s: %w", long, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "w1", errors.New("do `migrate rollback --yes`"))),
		fmt.Errorf("%s: %w", long, &remote.ExitError{Host: "cp1", Script: "true", Status: 1, Stderr: long + long + long + long + long + long + long + ": sudo sh /tmp/x-1"}),
		fmt.Errorf("%s: %w", long, remote.Quoting(errors.New("etcd said last: sudo sh /tmp/x-1"))),
		fmt.Errorf("%s: %w", long, status.Error(codes.Unavailable, "do: sudo sh /tmp/x-1")),
		errors.New(long + ": `migrate rollback; reboot`"),
	} {
		if got := string(console.Lines(err, "")); strings.Contains(got, "\n") {
			t.Errorf("it is put on a line of its own:\n%s", got)
		}
	}
}
