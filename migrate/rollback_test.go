package migrate

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

// undoable gives a step a way back of two remote commands.
func undoable(s *Step[reader, writer]) {
	grouped(s)
	s.Group = ""
}

// stays makes a step one-way for a reason.
func stays(s *Step[reader, writer]) { s.OneWay = "it harms nobody" }

// there is a phase with all that a rollback may meet: a step that was there
// before, a rolling group, one that stays.
func thereAndBack() (*world, Phase[reader, writer]) {
	w := newWorld()
	w.values["b@e1"], w.values["a@cluster"] = "new", "odd"
	return w, phase(step("a", Once, undoable), step("b", EtcdHosts, rolling, undoable), step("c", EtcdHosts, rolling, undoable, needs("b")), step("d", Once, stays))
}

func TestRollback(t *testing.T) {
	t.Parallel()
	w, p := thereAndBack()
	j, heard := newJournal(t), &told{}
	start := maps.Clone(w.values)
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r.Events, w.ops = heard, nil
	if err := r.Rollback(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	// b@e1 was there before us; d stays.
	start["b@e2"], start["c@e1"], start["c@e2"], start["d@cluster"] = "old", "old", "old", "new"
	if diff := cmp.Diff(start, w.values); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"c@e2=half", "c@e2=old", "b@e2=half", "b@e2=old", "c@e1=half", "c@e1=old", "a@cluster=half", "a@cluster=odd",
	}, w.ops); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a@cluster undone", "b@e1 satisfied", "c@e1 undone", "b@e2 undone", "c@e2 undone", "d@cluster verified"}, recorded(t, j)); diff != "" {
		t.Error(diff)
	}
	if known, err := j.Phase(2); err != nil || !known.Completed.IsZero() {
		t.Errorf("the phase is complete: %+v, %v", known, err)
	}
	if runs, err := j.Runs(); err != nil || runs[len(runs)-1].Result != "rolled back" {
		t.Errorf("runs %+v, %v", runs, err)
	}
	if lines := strings.Join(heard.lines(), "\n"); !strings.Contains(lines, "d@cluster: stays as it is: it harms nobody") {
		t.Errorf("told:\n%s", lines)
	}
	// Back again: nothing to do. Forward again: as the first time.
	w.ops = nil
	if err := r.Rollback(t.Context(), p); err != nil || len(w.ops) > 0 {
		t.Errorf("a second rollback did %v, %v", w.ops, err)
	}
	if err := r.Run(t.Context(), p); err != nil || w.values["c@e2"] != "new" || w.values["a@cluster"] != "new" {
		t.Errorf("forward again: %v, %v", err, w.values)
	}
}

func TestNoRollbackWithAStepThatHasNoneYet(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once), step("b", Once, undoable))
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.ops = nil
	var blocked *BlockedError
	if err := r.Rollback(t.Context(), p); !errors.As(err, &blocked) || blocked.Step != "a" || len(w.ops) > 0 {
		t.Errorf("did %v, %v", w.ops, err)
	}
}

// From the middle of a phase only what was touched is undone.
func TestRollbackFromTheMiddle(t *testing.T) {
	t.Parallel()
	w, p := thereAndBack()
	j := newJournal(t)
	w.touch = func(s StepID, target, _ string) error {
		if s == "c" && target == "e1" {
			return errNoRoute
		}
		return nil
	}
	r := runner(w, j)
	if err := r.Run(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	w.touch = func(StepID, string, string) error { return nil }
	if err := r.Rollback(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a@cluster": "odd", "b@e1": "new", "c@e1": "old"}, w.values); diff != "" {
		t.Error(diff)
	}
}

// A host that is in the spec no more can't be asked; the rest goes back.
func TestRollbackWithoutATarget(t *testing.T) {
	t.Parallel()
	w, p := thereAndBack()
	j := newJournal(t)
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.targets[EtcdHosts] = []string{"e1"}
	entries, err := RollbackPlan(t.Context(), w, p, j)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Target == "e2" && !strings.Contains(e.Stays, "no target") {
			t.Errorf("entry %+v", e)
		}
	}
	if err := r.Rollback(t.Context(), p); err != nil || w.values["c@e1"] != "old" || w.values["c@e2"] != "new" {
		t.Errorf("%v, %v", err, w.values)
	}
}

func TestRollbackStops(t *testing.T) {
	t.Parallel()
	w, p := thereAndBack()
	p.Steps[1].KeepGoing = true // the state after b is none to stay in
	j := newJournal(t)
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	r.Stop, w.ops = stop, nil
	w.touch = func(s StepID, target, value string) error {
		if s == "c" && target == "e2" && value == "half" {
			close(stop)
		}
		return nil
	}
	// c@e2 is at hand; then b@e2 has to be undone as well, because what c@e2
	// leaves is what b@e2 had left.
	if err := r.Rollback(t.Context(), p); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c@e2=half", "c@e2=old", "b@e2=half", "b@e2=old"}, w.ops); diff != "" {
		t.Error(diff)
	}
	r.Stop = nil
	w.touch = func(StepID, string, string) error { return nil }
	if err := r.Rollback(t.Context(), p); err != nil || w.values["a@cluster"] != "odd" {
		t.Errorf("%v, %v", err, w.values)
	}
}

// TestRollbackKilledAtAnyInstant kills the way back at every instant, and
// ends it in a second try as an uninterrupted one would.
func TestRollbackKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	for kill := 1; ; kill++ {
		w, p := thereAndBack()
		l := newLab(t, w, p)
		if died, err := l.run(t.Context(), 0); died || err != nil {
			t.Fatal(died, err)
		}
		died, err := l.rollback(t.Context(), kill)
		if !died {
			if err != nil || kill == 1 {
				t.Fatal(kill, err)
			}
			t.Logf("%d instants", kill-1)
			return
		}
		if died, err := l.rollback(t.Context(), 0); died || err != nil {
			t.Fatalf("instant %d: %v", kill, err)
		}
		want := map[string]string{"a@cluster": "odd", "b@e1": "new", "b@e2": "old", "c@e1": "old", "c@e2": "old", "d@cluster": "new"}
		if diff := cmp.Diff(want, w.values); diff != "" {
			t.Fatalf("killed at instant %d: %s", kill, diff)
		}
		for _, rec := range recorded(t, l.journal) {
			if !strings.HasSuffix(rec, " "+string(state.Undone)) && rec != "b@e1 satisfied" && rec != "d@cluster verified" {
				t.Fatalf("killed at instant %d: %s", kill, rec)
			}
		}
		if len(l.broken) > 0 {
			t.Fatalf("killed at instant %d: %v", kill, l.broken)
		}
	}
}

// rollback is run the other way.
func (l *lab) rollback(ctx context.Context, kill int) (died bool, err error) {
	l.points, l.kill = 0, kill
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crashed); !ok {
				panic(r)
			}
			died = true
		}
	}()
	return false, runner(l.world, l).Rollback(ctx, l.phase)
}

// TestTheWayBackIsShownAsDiffs: what a step said it would change when it was
// first begun is shown the other way round, with what is true now.
func TestTheWayBackIsShownAsDiffs(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	s := step("a", Once, undoable)
	check := s.Check
	s.Check = func(ctx context.Context, v reader) (Finding, error) {
		f, err := check(ctx, v)
		if f.Verdict == Needed {
			f.Changes = []Change{{Object: "cp1:/etc/a", Before: "old\n", After: "new\n"}}
		}
		return f, err
	}
	p := phase(s)
	r := runner(w, j)
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	entries, err := RollbackPlan(t.Context(), r.Env, p, j)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{Object: "cp1:/etc/a", Before: "new\n", After: "old\n"}}
	if len(entries) != 1 || !cmp.Equal(want, entries[0].Changes) || entries[0].Now != "" {
		t.Fatalf("got %+v", entries)
	}
	if err := Look(t.Context(), r.Env, p, entries); err != nil || entries[0].Now == "" {
		t.Errorf("what is true now: %q, %v", entries[0].Now, err)
	}
}

// TestRollbackToWhereTheWayThereIsBlocked: what would stop the step by now is no
// reason to stop its way back, where the check says that nothing of it is there.
func TestRollbackToWhereTheWayThereIsBlocked(t *testing.T) {
	t.Parallel()
	for _, undone := range []bool{true, false} {
		w, j := newWorld(), newJournal(t)
		blocked := false
		p := phase(step("a", Once, undoable, func(s *Step[reader, writer]) {
			s.Settle = 20 * time.Millisecond
			check := s.Check
			s.Check = func(ctx context.Context, v reader) (Finding, error) {
				f, err := check(ctx, v)
				if blocked && f.Verdict == Needed {
					return Finding{Verdict: Blocked, Reason: "something is missing", Undone: undone}, err
				}
				return f, err
			}
		}))
		r := runner(w, j)
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		blocked = true
		err := r.Rollback(t.Context(), p)
		if undone && (err != nil || w.values["a@cluster"] != "old") {
			t.Errorf("nothing of it is there, and: %v, %v", err, w.values)
		}
		if !undone && (err == nil || !strings.Contains(err.Error(), "something is missing")) {
			t.Errorf("whether it is undone is not known: %v", err)
		}
	}
}
