package migrate

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

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
		if i > 0 && (written(t, j) != lines || !reflect.DeepEqual(now, completed)) {
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
				p := phase(step("a", Once, func(s *Step[reader, writer]) {
					check := s.Check
					s.Check = func(ctx context.Context, v reader) (Finding, error) {
						time.Sleep(invariantsFresh) // else the phase's check of the invariants is the step's
						return check(ctx, v)
					}
				}))
				p.InvariantsSettle = time.Minute
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
	type S = Step[reader, writer]
	for name, c := range map[string]struct {
		spoil func(*S, context.CancelCauseFunc)
		op    Op
		want  state.Status
		says  string
	}{
		"check": {func(s *S, cancel context.CancelCauseFunc) {
			s.Check = func(ctx context.Context, _ reader) (Finding, error) { cancel(cause); return Finding{}, ctx.Err() }
		}, OpCheck, state.Pending, "nothing was changed by it"},
		"apply": {func(s *S, cancel context.CancelCauseFunc) {
			s.Apply = func(ctx context.Context, h writer, _ Before) error {
				return errors.Join(h.set("a", "half"), func() error { cancel(cause); return ctx.Err() }())
			}
		}, OpApply, state.Started, "its outcome is unknown"},
		"verify": {func(s *S, cancel context.CancelCauseFunc) {
			s.Verify = func(context.Context, reader) error { cancel(cause); return errNotYet }
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

func TestCancelInTheFirstInvariants(t *testing.T) {
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

func (b brokenJournal) BeginPhase(phase int, spec, declaration string, choice map[string]string) error {
	if b.refuses == "begin" {
		return errDiskFull
	}
	return b.Journal.BeginPhase(phase, spec, declaration, choice)
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
