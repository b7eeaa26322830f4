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

func TestACompletePhaseRunAgainWritesNothingButARun(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.values["a@cluster"] = "new"
	p := phase(step("a", Once), step("b", EtcdHosts))
	var completed state.Phase
	for i := range 3 {
		lines := written(t, j)
		if err := runner(w, j).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		now, err := j.Phase(2)
		if err != nil || now.Completed.IsZero() {
			t.Fatalf("run %d: %+v, %v", i, now, err)
		}
		if i > 0 && (written(t, j) != lines || now != completed) {
			t.Errorf("run %d wrote %d lines and the phase %+v over %+v", i, written(t, j)-lines, now, completed)
		}
		completed = now
	}
	if len(w.ops) != 4 {
		t.Errorf("ops: %v", w.ops)
	}
	if runs, err := j.Runs(); err != nil || len(runs) != 3 || runs[2].Result != "done" {
		t.Errorf("runs %v, %v", runs, err)
	}
}

func TestDriftIsPutRightWithThePreImageOfTheFirstTime(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once), step("b", Once))
	w.values["a@cluster"], w.values["b@cluster"] = "first", "new"
	for _, drifted := range []string{"", "second", "third"} {
		if drifted != "" {
			w.values["a@cluster"], w.values["b@cluster"] = drifted, drifted
		}
		if err := runner(w, j).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]string{"a": "first", "b": "second"} {
		if rec := record(t, j, id, ClusterTarget); rec.Status != state.Verified || rec.Before["was"] != want {
			t.Errorf("%s: %+v, want the pre-image %q", id, rec, want)
		}
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
	p := phase(step("a", Once, func(s *Step[view, hands]) {
		apply := s.Apply
		s.Apply = func(ctx context.Context, h hands, b Before) error {
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
	// The world was "half" by then: a pre-image taken anew would be wrong.
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
	p := phase(step("a", Once, func(s *Step[view, hands]) {
		s.Apply = func(_ context.Context, h hands, b Before) error {
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
		p := phase(step("a", Once, func(s *Step[view, hands]) {
			s.Verify = func(context.Context, view) error {
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
		p := phase(step("a", Once, func(s *Step[view, hands]) {
			s.Verify = func(context.Context, view) error {
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
	if want := "phase 2 is blocked: the cluster is not healthy: "; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("says %q", err)
	}
	if len(w.ops) != 0 || written(t, j) != 0 {
		t.Errorf("did %v", w.ops)
	}
}

func TestGuardAroundEveryStep(t *testing.T) {
	t.Parallel()
	// A clean run of two steps asks 5 times: before the phase, and before and
	// after each step. Each of them must be able to stop the run.
	for breaks, want := range map[int]struct {
		op  string
		ops int
	}{1: {"blocked phase", 0}, 2: {"blocked a", 0}, 3: {"guard a", 2}, 4: {"blocked b", 2}, 5: {"guard b", 4}, 6: {"", 4}} {
		w, j, asked := newWorld(), newJournal(t), 0
		w.guard = func() error {
			if asked++; asked == breaks {
				return errNotYet
			}
			return nil
		}
		err := runner(w, j).Run(t.Context(), phase(step("a", Once), step("b", Once)))
		got := ""
		var broken *StepError
		var blocked *BlockedError
		switch {
		case errors.As(err, &blocked) && blocked.Step == "":
			got = "blocked phase"
		case errors.As(err, &blocked):
			got = "blocked " + string(blocked.Step)
		case errors.As(err, &broken):
			got = string(broken.Op) + " " + string(broken.Step)
		}
		if got != want.op || len(w.ops) != want.ops {
			t.Errorf("broken at call %d: %q (%v) after %d commands, want %q after %d", breaks, got, err, len(w.ops), want.op, want.ops)
		}
	}
}

func TestStopFinishesTheStepAtHand(t *testing.T) {
	t.Parallel()
	w, j, heard := newWorld(), newJournal(t), &told{}
	stop := make(chan struct{})
	w.touch = func(_ StepID, target, value string) error {
		if target == "e1" && value == "half" {
			close(stop)
		}
		return nil
	}
	r := runner(w, j)
	r.Stop, r.Events = stop, heard
	p := phase(step("a", EtcdHosts), step("b", Once))
	if err := r.Run(t.Context(), p); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff([]string{"a@e1 verified"}, recorded(t, j)); diff != "" {
		t.Error(diff)
	}
	if last := heard.lines()[len(heard.events)-1]; last != "1/3 stopped" {
		t.Errorf("the last event is %q", last)
	}
	if ph, err := j.Phase(2); err != nil || ph.Begun.IsZero() || !ph.Completed.IsZero() {
		t.Errorf("phase %+v, %v", ph, err)
	}
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(w.ops) != 6 {
		t.Errorf("ops %v", w.ops)
	}
}

// While the invariants are waited for before a change, nothing is under way:
// a stop need not wait for them.
func TestStopWhileWaitingForTheInvariants(t *testing.T) {
	t.Parallel()
	for name, healthy := range map[string]int{"before the phase": 0, "before a step": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, j, heard, asked := newWorld(), newJournal(t), &told{}, 0
				w.guard = func() error {
					if asked++; asked <= healthy {
						return nil
					}
					return errNotYet
				}
				stop := make(chan struct{})
				time.AfterFunc(8*time.Second, func() { close(stop) })
				p := phase(step("a", Once))
				p.GuardSettle = time.Minute
				r := runner(w, j)
				r.Stop, r.Events = stop, heard
				start := time.Now()
				if err := r.Run(t.Context(), p); !errors.Is(err, ErrStopped) || time.Since(start) != 8*time.Second {
					t.Errorf("got %v after %s", err, time.Since(start))
				}
				if last := heard.events[len(heard.events)-1]; last.Kind != EventStopped || len(w.ops) != 0 || written(t, j) != 0 {
					t.Errorf("did %v and told %+v", w.ops, last)
				}
			})
		})
	}
}

func TestCancelLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	cause := errors.New("interrupted twice")
	type S = Step[view, hands]
	for name, c := range map[string]struct {
		spoil func(*S, context.CancelCauseFunc)
		op    Op
		want  state.Status
		says  string
	}{
		"check": {func(s *S, cancel context.CancelCauseFunc) {
			s.Check = func(ctx context.Context, _ view) (Finding, error) { cancel(cause); return Finding{}, ctx.Err() }
		}, OpCheck, state.Pending, "nothing was changed by it"},
		"apply": {func(s *S, cancel context.CancelCauseFunc) {
			s.Apply = func(ctx context.Context, h hands, _ Before) error {
				return errors.Join(h.set("a", "half"), func() error { cancel(cause); return ctx.Err() }())
			}
		}, OpApply, state.Started, "its outcome is unknown"},
		"verify": {func(s *S, cancel context.CancelCauseFunc) {
			s.Verify = func(context.Context, view) error { cancel(cause); return errNotYet }
		}, OpVerify, state.Applied, "it was applied but is not verified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, j := newWorld(), newJournal(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			spoilt := step("a", Once)
			c.spoil(&spoilt, cancel)
			err := runner(w, j).Run(ctx, phase(spoilt))
			var interrupted *InterruptedError
			if !errors.As(err, &interrupted) || interrupted.Op != c.op || interrupted.Status != c.want || !errors.Is(err, cause) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %q", err)
			}
			if rec := record(t, j, "a", ClusterTarget); rec.Status != c.want {
				t.Errorf("record %+v", rec)
			}
			if err := runner(w, j).Run(t.Context(), phase(step("a", Once))); err != nil {
				t.Fatal(err)
			}
			if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Verified || rec.Before["was"] != "old" {
				t.Errorf("after the resume: %+v", rec)
			}
		})
	}
}

func TestCancelInTheFirstGuard(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.guard = func() error { cancel(); return errNotYet }
	err := runner(w, j).Run(ctx, phase(step("a", Once)))
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "guard of phase 2, nothing was changed") {
		t.Errorf("got %v", err)
	}
}

// brokenJournal refuses one kind of event.
type brokenJournal struct {
	*state.Journal
	refuses state.Event
}

var errDiskFull = errors.New("no space left on device")

func (b brokenJournal) Advance(k state.Key, c state.Change) (state.Record, error) {
	if c.Event == b.refuses {
		return state.Record{}, errDiskFull
	}
	return b.Journal.Advance(k, c)
}

func (b brokenJournal) BeginPhase(phase int, spec, declaration string) error {
	if b.refuses == "begin" {
		return errDiskFull
	}
	return b.Journal.BeginPhase(phase, spec, declaration)
}

func TestNothingIsDoneThatTheJournalDoesNotTake(t *testing.T) {
	t.Parallel()
	for refuses, commands := range map[state.Event]int{"begin": 0, state.Start: 0, state.ApplyDone: 2, state.VerifyDone: 2} {
		w, j := newWorld(), newJournal(t)
		p := phase(step("a", Once), step("b", Once))
		err := runner(w, brokenJournal{j, refuses}).Run(t.Context(), p)
		var broken *StepError
		if !errors.As(err, &broken) || broken.Op != OpJournal || !errors.Is(err, errDiskFull) || len(w.ops) != commands {
			t.Errorf("%s: %v after %d commands", refuses, err, len(w.ops))
		}
		if err := runner(w, j).Run(t.Context(), p); err != nil {
			t.Errorf("%s: the next run: %v", refuses, err)
		}
		if diff := cmp.Diff([]string{"a@cluster verified", "b@cluster verified"}, recorded(t, j)); diff != "" {
			t.Errorf("%s: %s", refuses, diff)
		}
	}
}

func TestAFailureThatCannotBeWrittenDownIsNotLost(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.touch = func(StepID, string, string) error { return errNoRoute }
	err := runner(w, brokenJournal{j, state.Fail}).Run(t.Context(), phase(step("a", Once)))
	if !errors.Is(err, errNoRoute) || !errors.Is(err, errDiskFull) {
		t.Errorf("got %v", err)
	}
}

func TestAPartDonePhaseIsResumedAsItWasBegun(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.values["b@cluster"] = "stuck"
	p, longer := phase(step("a", Once), step("b", Once)), phase(step("a", Once), step("b", Once), step("c", Once))
	if err := runner(w, j).Run(t.Context(), p); err == nil {
		t.Fatal("not blocked")
	}
	other := runner(w, j)
	other.Spec = "sha256:other"
	var refused *FingerprintError
	if err := other.Run(t.Context(), p); !errors.As(err, &refused) || !refused.Spec || !strings.Contains(err.Error(), "the spec file as it was") {
		t.Errorf("another spec: %v", err)
	}
	if err := runner(w, j).Run(t.Context(), longer); !errors.As(err, &refused) || refused.Spec || !strings.Contains(err.Error(), "version v1 of migrate") {
		t.Errorf("another declaration: %v", err)
	}
	w.values["b@cluster"] = "old"
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	// Complete: weeks later there may be more nodes and more steps.
	w.targets[Once] = []string{ClusterTarget, "another"}
	other.Stop = make(chan struct{})
	if err := other.Run(t.Context(), longer); err != nil {
		t.Errorf("after completion: %v", err)
	}
	if ph, err := j.Phase(2); err != nil || ph.Spec != "sha256:other" || ph.Completed.IsZero() {
		t.Errorf("phase %+v, %v", ph, err)
	}
}

func TestAPhaseThatTouchedNothingYetMayChange(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.values["a@cluster"], w.values["b@cluster"] = "new", "stuck"
	p := phase(step("a", Once), step("b", Once))
	if err := runner(w, j).Run(t.Context(), p); err == nil {
		t.Fatal("not blocked")
	}
	w.values["b@cluster"] = "old"
	other := runner(w, j)
	other.Spec = "sha256:other"
	if err := other.Run(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// A complete phase in which drift is being put right is part done again.
func TestDriftOpensACompletePhaseAgain(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once))
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.values["a@cluster"] = "old"
	w.touch = func(StepID, string, string) error { return errNoRoute }
	if err := runner(w, j).Run(t.Context(), p); !errors.Is(err, errNoRoute) {
		t.Fatal(err)
	}
	other := runner(w, j)
	other.Spec = "sha256:other"
	var refused *FingerprintError
	if err := other.Run(t.Context(), p); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

func TestMistakesOfTheDeclarationAndItsEnv(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	if err := runner(w, j).Run(t.Context(), phase()); err == nil {
		t.Error("ran a phase without steps")
	}
	silentCheck := step("a", Once, func(s *Step[view, hands]) {
		s.Check = func(context.Context, view) (Finding, error) { return Finding{}, nil }
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
