package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

var errNoRoute = errors.New("no route to host")

func TestRunTakesStepsInOrderRollingOnesTargetByTarget(t *testing.T) {
	t.Parallel()
	w, j, heard := newWorld(), newJournal(t), &told{}
	w.values["a@cluster"] = "new"
	r := runner(w, j)
	r.Events = heard
	p := phase(step("a", Once), step("b", EtcdHosts, rolling), step("c", EtcdHosts, rolling, needs("b")),
		step("d", EtcdHosts, needs("c")), step("e", JoiningControlPlanes))
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"b@e1=half", "b@e1=new", "c@e1=half", "c@e1=new", "b@e2=half", "b@e2=new", "c@e2=half", "c@e2=new",
		"d@e1=half", "d@e1=new", "d@e2=half", "d@e2=new",
	}, w.ops); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"a@cluster satisfied", "b@e1 verified", "c@e1 verified", "b@e2 verified", "c@e2 verified", "d@e1 verified", "d@e2 verified",
	}, recorded(t, j)); diff != "" {
		t.Error(diff)
	}
	// The fingerprints are there before the first record, once.
	if ph, err := j.Phase(2); err != nil || ph.Begun.After(record(t, j, "a", ClusterTarget).Ended) {
		t.Errorf("begun %s, after the first record (%v)", ph.Begun, err)
	}
	if diff := cmp.Diff([]string{
		"0/7 phase-started",
		"1/7 step-checking a@cluster", "1/7 step-satisfied a@cluster: it is new",
		"2/7 step-checking b@e1", "2/7 step-started b@e1: it is old", "2/7 step-done b@e1",
		"3/7 step-checking c@e1", "3/7 step-started c@e1: it is old", "3/7 step-done c@e1",
	}, heard.lines()[:9]); diff != "" {
		t.Error(diff)
	}
	if last := heard.lines()[len(heard.events)-1]; last != "7/7 phase-done" {
		t.Errorf("the last event is %q", last)
	}
}

func TestBlockedStepChangesNothing(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.values["b@e2"] = "stuck"
	err := runner(w, j).Run(t.Context(), phase(step("b", EtcdHosts), step("c", Once)))
	var blocked *BlockedError
	if !errors.As(err, &blocked) || blocked.Where != (Where{2, "b", "e2"}) || blocked.Reason != "it is stuck" || blocked.Remedy != "free it" {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff([]string{"b@e1 verified"}, recorded(t, j)); diff != "" {
		t.Error(diff)
	}
	if runs, err := j.Runs(); err != nil || !strings.Contains(runs[0].Result, "free it") {
		t.Errorf("runs %v, %v", runs, err)
	}
}

func TestApplyErrorIsKeptAndRetriedWithTheFirstPreImage(t *testing.T) {
	t.Parallel()
	w, j, heard := newWorld(), newJournal(t), &told{}
	fail := true
	w.touch = func(_ StepID, _, value string) error {
		if fail && value == "new" {
			return errNoRoute
		}
		return nil
	}
	var given []Before
	p := phase(step("a", Once, func(s *Step[reader, writer]) {
		apply := s.Apply
		s.Apply = func(ctx context.Context, h writer, b Before) error {
			given = append(given, b)
			return apply(ctx, h, b)
		}
	}))
	r := runner(w, j)
	r.Events = heard
	err := r.Run(t.Context(), p)
	var broken *StepError
	if !errors.As(err, &broken) || broken.Op != OpApply || broken.Where != (Where{2, "a", "cluster"}) || !errors.Is(err, errNoRoute) {
		t.Fatalf("got %v", err)
	}
	rec := record(t, j, "a", ClusterTarget)
	if rec.Status != state.Failed || rec.FailedIn != state.Started || rec.Error != errNoRoute.Error() {
		t.Errorf("record %+v", rec)
	}
	if last := heard.lines()[len(heard.events)-1]; last != "1/1 step-failed a@cluster: a on cluster: apply: no route to host" {
		t.Errorf("the last event is %q", last)
	}
	fail = false
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	// The world was "half" by then: a pre-image taken again would be wrong.
	if diff := cmp.Diff([]Before{{"was": "old"}, {"was": "old"}}, given); diff != "" {
		t.Error(diff)
	}
	if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Verified || rec.Attempts != 2 || rec.Error != "" {
		t.Errorf("record %+v", rec)
	}
}

func TestAnApplyCannotChangeThePreImage(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once, func(s *Step[reader, writer]) {
		s.Apply = func(_ context.Context, h writer, b Before) error {
			b["was"] = "forged"
			return errors.Join(h.set("a", "new"))
		}
	}))
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if rec := record(t, j, "a", ClusterTarget); rec.Before["was"] != "old" {
		t.Errorf("record %+v", rec)
	}
}

func TestVerifyIsWaitedForAndSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, j, heard := newWorld(), newJournal(t), &told{}
		r := runner(w, j)
		r.Events = heard
		ready := time.Now().Add(12 * time.Second)
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.Verify = func(context.Context, reader) error {
				if time.Now().Before(ready) {
					return errNotYet
				}
				return nil
			}
		}))
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		waiting := "1/1 step-waiting a@cluster: " + errNotYet.Error()
		if diff := cmp.Diff([]string{
			"0/1 phase-started", "1/1 step-checking a@cluster", "1/1 step-started a@cluster: it is old",
			waiting, waiting, "1/1 step-done a@cluster", "1/1 phase-done",
		}, heard.lines()); diff != "" {
			t.Error(diff)
		}
		if e := heard.events[3]; e.Elapsed != 5500*time.Millisecond {
			t.Errorf("first told after %s", e.Elapsed)
		}
	})
}

func TestVerifyThatNeverAgreesIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), newJournal(t)
		agree := false
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.Verify = func(context.Context, reader) error {
				if !agree {
					return errNotYet
				}
				return nil
			}
		}))
		// The second run finds the step satisfied by its check, and waits for
		// Verify all the same: it was not verified.
		for attempt := 1; attempt <= 2; attempt++ {
			err := runner(w, j).Run(t.Context(), p)
			var broken *StepError
			var expired *TimeoutError
			if !errors.As(err, &broken) || broken.Op != OpVerify || !errors.As(err, &expired) || !errors.Is(err, errNotYet) {
				t.Fatalf("got %v", err)
			}
			if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Failed || rec.FailedIn != state.Applied || rec.Attempts != 1 {
				t.Errorf("record %+v", rec)
			}
		}
		agree = true
		if err := runner(w, j).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Verified || rec.Before["was"] != "old" || len(w.ops) != 2 {
			t.Errorf("record %+v after %v", rec, w.ops)
		}
	})
}

func TestGuardBeforeAPhaseBlocksIt(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.guard = func() error { return errNotYet }
	err := runner(w, j).Run(t.Context(), phase(step("a", Once)))
	var blocked *BlockedError
	if !errors.As(err, &blocked) || blocked.Step != "" || !errors.Is(err, errNotYet) {
		t.Fatalf("got %v", err)
	}
	if want := "phase 2 is blocked: the cluster is not healthy: "; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "nothing is half done") {
		t.Errorf("says %q", err)
	}
	if len(w.ops) != 0 || written(t, j) != 0 {
		t.Errorf("did %v", w.ops)
	}
}

func TestGuardAroundEveryStep(t *testing.T) {
	t.Parallel()
	type broken struct {
		op  string
		ops int
	}
	// A clean run of two steps asks before the phase, and before and after each
	// step. From each of these calls on the invariants may be broken, and that must
	// stop the run. What was asked a moment ago is not asked again.
	for name, c := range map[string]struct {
		check time.Duration // that each step's Check takes
		calls map[int]broken
	}{
		"at once":  {0, map[int]broken{1: {"blocked phase", 0}, 2: {"guard a", 2}, 3: {"guard b", 4}, 4: {"", 4}}},
		"a second": {invariantsFresh, map[int]broken{1: {"blocked phase", 0}, 2: {"blocked a", 0}, 3: {"guard a", 2}, 4: {"blocked b", 2}, 5: {"guard b", 4}, 6: {"", 4}}},
	} {
		for breaks, want := range c.calls {
			t.Run(fmt.Sprintf("%s, %d", name, breaks), func(t *testing.T) {
				op, ops := brokenInvariants(t, breaks, c.check)
				if got := (broken{op, ops}); got != want {
					t.Errorf("broken at call %d: %v, want %v", breaks, got, want)
				}
			})
		}
	}
}

// brokenInvariants runs two steps with invariants that are broken from a call on. It returns
// what the run says is broken, and how many commands were done.
func brokenInvariants(t *testing.T, breaks int, check time.Duration) (op string, ops int) {
	j := newJournal(t)
	synctest.Test(t, func(t *testing.T) {
		w, asked := newWorld(), 0
		w.guard = func() error {
			if asked++; asked >= breaks {
				return errNotYet
			}
			return nil
		}
		slow := func(s *Step[reader, writer]) {
			real := s.Check
			s.Check = func(ctx context.Context, v reader) (Finding, error) {
				time.Sleep(check)
				return real(ctx, v)
			}
		}
		err := runner(w, j).Run(t.Context(), phase(step("a", Once, slow), step("b", Once, slow)))
		var broken *StepError
		var blocked *BlockedError
		switch {
		case errors.As(err, &blocked) && blocked.Step == "":
			op = "blocked phase"
		case errors.As(err, &blocked):
			op = "blocked " + string(blocked.Step)
		case errors.As(err, &broken):
			op = string(broken.Op) + " " + string(broken.Step)
		}
		ops = len(w.ops)
	})
	return op, ops
}

func TestMistakesOfTheDeclarationAndItsEnv(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	if err := runner(w, j).Run(t.Context(), phase()); err == nil {
		t.Error("ran a phase without steps")
	}
	silentCheck := step("a", Once, func(s *Step[reader, writer]) {
		s.Check = func(context.Context, reader) (Finding, error) { return Finding{}, nil }
	})
	var broken *StepError
	if err := runner(w, j).Run(t.Context(), phase(silentCheck)); !errors.As(err, &broken) || broken.Op != OpCheck {
		t.Errorf("a check without a verdict: %v", err)
	}
	w.targets[Workers] = []string{"w1", "w1"}
	if err := runner(w, j).Run(t.Context(), phase(step("a", Workers))); err == nil || !strings.Contains(err.Error(), `listing the workers: the name "w1"`) {
		t.Errorf("a target twice: %v", err)
	}
	if len(w.ops) != 0 {
		t.Errorf("did %v", w.ops)
	}
}

func TestNeedsOfOtherTargets(t *testing.T) {
	t.Parallel()
	w := newWorld()
	p := phase(step("a", EtcdHosts, rolling), step("b", EtcdHosts, rolling, needs("a")), step("c", Once, needs("a", "b")))
	all, err := visits(t.Context(), w, p)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, v := range all {
		order = append(order, fmt.Sprintf("%s@%s", v.ID, v.target))
	}
	if diff := cmp.Diff([]string{"a@e1", "b@e1", "a@e2", "b@e2", "c@cluster"}, order); diff != "" {
		t.Fatal(diff)
	}
	done := func(names ...string) func(StepID, string) bool {
		return func(s StepID, target string) bool {
			for _, n := range names {
				if n == string(s)+"@"+target {
					return true
				}
			}
			return false
		}
	}
	for _, c := range []struct {
		visit int
		done  []string
		want  []StepID
	}{
		{1, nil, []StepID{"a"}},
		{1, []string{"a@e1"}, nil}, // a@e2 has its turn later
		{3, []string{"a@e1", "b@e1"}, []StepID{"a"}},
		{4, []string{"a@e1", "b@e1", "b@e2"}, []StepID{"a"}},
		{4, []string{"a@e1", "a@e2", "b@e1", "b@e2"}, nil},
	} {
		if diff := cmp.Diff(c.want, all[c.visit].unmet(all, done(c.done...))); diff != "" {
			t.Errorf("%s with %v done: %s", order[c.visit], c.done, diff)
		}
	}
}
