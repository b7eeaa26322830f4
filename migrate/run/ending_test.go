package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/lease"
	"hamigrate/state"
)

// TestTheClosingBlock: for each way to end, how it ended, what was changed and
// the one next command. The cluster's part needs hosts: the scripts have it.
func TestTheClosingBlock(t *testing.T) {
	t.Parallel()
	where := migrate.Where{Phase: 2, Step: "etcd/promote", Target: "e1"}
	held := lease.Held(kube.Operator{Who: "ada@laptop", Renewed: time.Now(), Lasts: time.Minute})
	stale := lease.Held(kube.Operator{Who: "ada@laptop", Lasts: time.Minute})
	for _, c := range []struct {
		name string
		err  error
		how  string
		next string
	}{
		{"stopped", fmt.Errorf("x: %w", migrate.ErrStopped), "between two steps, as asked: nothing is half done", "migrate run --phase 2"},
		{"interrupted", &migrate.InterruptedError{Where: where, Op: migrate.OpApply, Status: state.Started, Cause: context.Canceled}, "in the middle of etcd/promote on e1: it may be half done", "migrate run --phase 2    (it looks first)"},
		{"interrupted on the way back", &migrate.InterruptedError{Where: where, Op: migrate.OpUndo, Status: state.Undoing, Cause: context.Canceled}, "it may be half undone", "(it looks first)"},
		{"blocked", &migrate.BlockedError{Where: where, Reason: "x"}, "before etcd/promote on e1, which has changed nothing", "(after you have fixed what the first line names)"},
		{"blocked before the phase", &migrate.BlockedError{Where: migrate.Where{Phase: 2}, Reason: "x"}, "before a step of phase 2 was begun", "migrate run --phase 2"},
		{"failed", &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: errors.New("x")}, "in the verify of etcd/promote on e1", "(after you have fixed what the first line names)"},
		{"undone", &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: errors.New("x"), Unwound: &migrate.Unwound{}}, "the whole step group was undone", "migrate run --phase 2"},
		{"way back failed", &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: errors.New("x"), Unwound: &migrate.Unwound{Err: errors.New("y")}}, "it needs a person", "migrate status    (then fix"},
		{"undo failed", &migrate.StepError{Where: where, Op: migrate.OpUndo, Err: errors.New("x")}, "while undoing etcd/promote on e1", "migrate status"},
		{"full disk", &migrate.StepError{Where: where, Op: migrate.OpJournal, Err: errors.New("no space left on device")}, "the journal could not be written, and nothing is done without it", "migrate run"},
		{"locked", &state.LockedError{Path: "x"}, "another run has the cluster", "(when the other one has ended)"},
		{"held", held, "another run has the cluster", "(when the other one has ended)"},
		{"held by a dead one", stale, "another run has the cluster", "migrate unlock"},
		{"damaged", &state.FormatError{Path: "x"}, "outside of any step", "migrate adopt"},
		{"anything", errors.New("no route to host"), "outside of any step", "migrate run --phase 2"},
	} {
		var out bytes.Buffer
		err := (&ending{listener: written{&out}, command: "run", phase: 2}).say(t.Context(), nil, c.err)
		if !errors.As(err, new(ToldError)) || code(err) != code(c.err) {
			t.Errorf("%s: %v, exit code %d", c.name, err, code(err))
		}
		text := out.String()
		how, next := line(text, "  It ended  "), line(text, "  Next      ")
		if !strings.HasPrefix(text, "migrate: "+c.err.Error()+"\n") || !strings.Contains(how, c.how) || !strings.Contains(next, c.next) {
			t.Errorf("%s:\n%s", c.name, text)
		}
	}
	if err := (&ending{}).say(t.Context(), nil, migrate.ErrStopped); !errors.Is(err, migrate.ErrStopped) || errors.As(err, new(ToldError)) {
		t.Errorf("nobody closes: %v", err)
	}
}

func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// TestWhatThisCommandChanged counts from the journal, this command's part only.
func TestWhatThisCommandChanged(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "j"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	advance := func(step string, events ...state.Event) {
		t.Helper()
		for _, e := range events {
			if _, err := j.Advance(state.Key{Phase: 1, Step: step, Target: "cp1"}, state.Change{Event: e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	advance("before", state.Start, state.ApplyDone, state.VerifyDone)
	var c ending
	c.begin(j)
	said := func() string { return fmt.Sprint(c.changed(j)) }
	if got := said(); !strings.Contains(got, "nothing, by this command") {
		t.Error(got)
	}
	advance("found", state.Found)
	if got := said(); !strings.Contains(got, "nothing, by this command") {
		t.Error(got)
	}
	advance("a", state.Start, state.ApplyDone, state.VerifyDone)
	advance("b", state.Start, state.ApplyDone, state.VerifyDone)
	advance("before", state.UndoStart, state.UndoDone)
	advance("c", state.Start)
	for _, want := range []string{"2 steps done, the last one b on cp1", "1 step undone, the last one before on cp1", "not finished: c on cp1 (started)"} {
		if got := said(); !strings.Contains(got, want) {
			t.Errorf("it does not say %q: %s", want, got)
		}
	}
}

// written is a listener that writes down what it is told.
type written struct{ w *bytes.Buffer }

func (w written) Failed(err error) { fmt.Fprintf(w.w, "migrate: %v\n\n", err) }

func (w written) Ended(rows [][2]string) {
	for _, r := range rows {
		fmt.Fprintf(w.w, "  %-9s %s\n", r[0], r[1])
	}
}
