package migrate

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

// doneThere is thereAndBack with the phase complete.
func doneThere(t *testing.T) (*world, Phase[reader, writer], *state.Journal, Runner[reader, writer]) {
	t.Helper()
	w, p := thereAndBack()
	j := newJournal(t)
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return w, p, j, r
}

// A step that was put right after the phase was complete has the newest record
// of all, and still goes back when its turn comes.
func TestRollbackGoesByThePhaseAndNotByTheRecords(t *testing.T) {
	t.Parallel()
	w, p, _, r := doneThere(t)
	w.values["a@cluster"] = "drifted"
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.ops = nil
	if err := r.Rollback(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"c@e2=half", "c@e2=old", "b@e2=half", "b@e2=old", "c@e1=half", "c@e1=old", "a@cluster=half", "a@cluster=odd",
	}, w.ops); diff != "" {
		t.Error(diff)
	}
}

// A complete phase that is half way back is part done: another spec would not
// fit what stands.
func TestHalfWayBackIsPartDone(t *testing.T) {
	t.Parallel()
	w, p, j, r := doneThere(t)
	if err := Resumable(j, p, "sha256:other"); err != nil {
		t.Errorf("complete: %v", err)
	}
	w.touch = func(s StepID, target, _ string) error {
		if s == "b" && target == "e2" {
			return errNoRoute
		}
		return nil
	}
	if err := r.Rollback(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	var changed *FingerprintError
	if err := Resumable(j, p, "sha256:other"); !errors.As(err, &changed) || !changed.Spec {
		t.Errorf("half way back: %v", err)
	}
	if err := Resumable(j, p, r.Spec); err != nil {
		t.Errorf("with the spec that it was begun with: %v", err)
	}
}

// A way back that goes by another spec and is stopped does not make that spec the one
// that the phase was begun with.
func TestAStoppedWayBackKeepsWhatThePhaseWasBegunWith(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once, undoable), step("b", Once, undoable), step("c", Once, undoable))
	fails := func(at StepID) func(StepID, string, string) error {
		return func(s StepID, _, _ string) error {
			if s == at {
				return errNoRoute
			}
			return nil
		}
	}
	w.touch = fails("c")
	r := runner(w, j)
	if err := r.Run(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	w.touch = fails("a")
	other := r
	other.Spec = "sha256:other"
	if err := other.Rollback(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	var changed *FingerprintError
	if err := Resumable(j, p, other.Spec); !errors.As(err, &changed) || !changed.Spec {
		t.Errorf("the spec of the way back is taken for that of the phase: %v", err)
	}
	if err := Resumable(j, p, r.Spec); err != nil {
		t.Errorf("with the spec that it was begun with: %v", err)
	}
}

// What stays after a rollback, since it is one-way, holds nobody to the spec
// that it was made with: the mistake may be in that spec.
func TestWhatStaysHoldsNobodyToTheSpec(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once, stays), step("b", Once, undoable), step("c", Once, undoable))
	w.touch = func(s StepID, _, _ string) error {
		if s == "c" {
			return errNoRoute
		}
		return nil
	}
	r := runner(w, j)
	if err := r.Run(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	w.touch = newWorld().touch
	if stand, err := Stands(j, p); err != nil || !stand {
		t.Errorf("part done: stands %t, %v", stand, err)
	}
	if err := Resumable(j, p, "sha256:other"); err == nil {
		t.Error("part done, another spec was taken")
	}
	if err := r.Rollback(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if stand, err := Stands(j, p); err != nil || stand {
		t.Errorf("undone: stands %t, %v", stand, err)
	}
	if err := Resumable(j, p, "sha256:other"); err != nil {
		t.Errorf("undone: %v", err)
	}
}

// A way back after which the cluster is not healthy needs a human, as one that
// failed does.
func TestUnhealthyAfterAnUndo(t *testing.T) {
	t.Parallel()
	w, p, _, r := doneThere(t)
	w.touch = func(StepID, string, string) error {
		w.guard = func() error { return errNoRoute }
		return nil
	}
	var failed *StepError
	if err := r.Rollback(t.Context(), p); !errors.As(err, &failed) || failed.Op != OpUndo || !errors.Is(err, errNoRoute) {
		t.Errorf("got %v", err)
	}
}
