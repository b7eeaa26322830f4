package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

// grouped makes a step one of the step group "b": its undo takes two remote
// commands, too.
func grouped(s *Step[reader, writer]) {
	id := s.ID
	s.Group, s.OneWay = "b", ""
	s.Undo = func(_ context.Context, h writer, before Before) error {
		if err := h.set(id, "half"); err != nil {
			return err
		}
		return h.set(id, before["was"])
	}
}

// group is a phase with a step before a step group of three, and one after it.
func group(with ...func(*Step[reader, writer])) Phase[reader, writer] {
	return phase(step("a", Once), step("b", EtcdHosts, grouped), step("c", Once, grouped, needs("b")),
		step("d", Once, append([]func(*Step[reader, writer]){grouped, needs("c")}, with...)...), step("e", Once, needs("d")))
}

// refused makes a step's Apply fail after its effect, while the cause lasts.
func refused(cause *error) func(*Step[reader, writer]) {
	return func(s *Step[reader, writer]) {
		apply := s.Apply
		s.Apply = func(ctx context.Context, h writer, b Before) error { return errors.Join(apply(ctx, h, b), *cause) }
	}
}

func TestAFailureInAGroupUnwindsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, j, heard := newWorld(), newJournal(t), &told{}
		w.values["b@e1"], w.values["c@cluster"] = "new", "odd" // b@e1 is not ours
		works := false
		p := group(func(s *Step[reader, writer]) {
			s.Verify = func(context.Context, reader) error {
				if !works {
					return errNotYet
				}
				return nil
			}
		})
		r := runner(w, j)
		r.Events = heard
		before := maps.Clone(w.values)
		err := r.Run(t.Context(), p)
		var broken *StepError
		var expired *TimeoutError
		if !errors.As(err, &broken) || broken.Op != OpVerify || broken.Step != "d" || !errors.As(err, &expired) || broken.Unwound == nil {
			t.Fatalf("got %v", err)
		}
		want := Unwound{Group: "b", Undone: []Where{{2, "d", "cluster"}, {2, "c", "cluster"}, {2, "b", "e2"}}}
		if diff := cmp.Diff(want, *broken.Unwound); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(err.Error(), "; undone: d on cluster, c on cluster, b on e2; the cluster is as it was before these steps: ") {
			t.Errorf("says %q", err)
		}
		before["a@cluster"], before["b@e2"], before["d@cluster"] = "new", "old", "old"
		if diff := cmp.Diff(before, w.values); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a@cluster verified", "b@e1 satisfied", "b@e2 undone", "c@cluster undone", "d@cluster undone"}, recorded(t, j)); diff != "" {
			t.Error(diff)
		}
		after := heard.lines()[slices.IndexFunc(heard.events, func(e Event) bool { return e.Kind == EventStepFailed })+1:]
		if diff := cmp.Diff([]string{
			"5/6 step-undoing d@cluster: d on cluster failed", "5/6 step-undone d@cluster",
			"4/6 step-undoing c@cluster: d on cluster failed", "4/6 step-undone c@cluster",
			"3/6 step-undoing b@e2: d on cluster failed", "3/6 step-undone b@e2",
		}, after); diff != "" {
			t.Error(diff)
		}
		// Run again, the step group begins again, with what is there now as the
		// state of before.
		works, w.values["d@cluster"] = true, "older"
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if rec := record(t, j, "d", ClusterTarget); rec.Status != state.Verified || rec.Before["was"] != "older" || rec.Attempts != 1 {
			t.Errorf("record %+v", rec)
		}
	})
}

// What the first step of a step group does when it fails says nothing about the
// later ones, unless they are in place.
func TestLaterStepsOfAGroupAreUnwoundOnlyWhereTheyAreInPlace(t *testing.T) {
	t.Parallel()
	broken := errors.New("it broke")
	for name, c := range map[string]struct {
		c, d string // what c and d are by then; both are recorded as verified
		want []string
	}{
		"the phase was done and is not in place any more": {"old", "old", []string{"b@e2=half", "b@e2=old", "b@e1=half", "b@e1=old"}},
		"stopped after c": {"new", "old", []string{"c@cluster=half", "c@cluster=old", "b@e2=half", "b@e2=old", "b@e1=half", "b@e1=old"}},
		"d is stuck":      {"old", "stuck", []string{"b@e2=half", "b@e2=old", "b@e1=half", "b@e1=old"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, j := newWorld(), newJournal(t)
			if err := runner(w, j).Run(t.Context(), group()); err != nil {
				t.Fatal(err)
			}
			w.values["b@e2"], w.values["c@cluster"], w.values["d@cluster"] = "old", c.c, c.d
			p := group()
			refused(&broken)(&p.Steps[1])
			ops := len(w.ops)
			if err := runner(w, j).Run(t.Context(), p); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{"b@e2=half", "b@e2=new"}, c.want...), w.ops[ops:]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A step of the step group that an earlier run left in the middle is undone
// as well, whatever its check says.
func TestAnUnfinishedLaterStepIsTakenBack(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	cut, cancel := context.WithCancel(t.Context())
	p := group(func(s *Step[reader, writer]) {
		s.Apply = func(ctx context.Context, h writer, _ Before) error {
			cancel()
			return errors.Join(h.set("d", "half"), ctx.Err())
		}
	})
	var interrupted *InterruptedError
	if err := runner(w, j).Run(cut, p); !errors.As(err, &interrupted) || len(w.ops) != 9 {
		t.Fatalf("%v after %v", err, w.ops)
	}
	w.values["b@e1"] = "old" // and something happens to b meanwhile
	broken := errors.New("it broke")
	p = group()
	refused(&broken)(&p.Steps[1])
	if err := runner(w, j).Run(t.Context(), p); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@cluster verified", "b@e1 undone", "b@e2 undone", "c@cluster undone", "d@cluster undone"}, recorded(t, j)); diff != "" {
		t.Error(diff)
	}
}

func TestAGroupIsNotUnwoundWhereItIsNotToBe(t *testing.T) {
	t.Parallel()
	type S = Step[reader, writer]
	stop := make(chan struct{})
	for name, spoil := range map[string]func(*world, *S, context.CancelFunc){
		"blocked": func(w *world, _ *S, _ context.CancelFunc) { w.values["d@cluster"] = "stuck" },
		"stopped": func(_ *world, s *S, _ context.CancelFunc) { s.Check = stopping(s.Check, stop) },
		"the check errs": func(_ *world, s *S, _ context.CancelFunc) {
			s.Check = func(context.Context, reader) (Finding, error) { return Finding{}, errNoRoute }
		},
		"the guard after it": func(w *world, s *S, _ context.CancelFunc) { s.Apply = breaking(w, s.Apply) },
		"interrupted in apply": func(_ *world, s *S, cancel context.CancelFunc) {
			s.Apply = func(ctx context.Context, _ writer, _ Before) error { cancel(); return ctx.Err() }
		},
		"interrupted in verify": func(_ *world, s *S, cancel context.CancelFunc) {
			s.Verify = func(context.Context, reader) error { cancel(); return errNotYet }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, j := newWorld(), newJournal(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := runner(w, j)
			if name == "stopped" {
				r.Stop = stop
			}
			err := r.Run(ctx, group(func(s *S) { spoil(w, s, cancel) }))
			if name == "stopped" {
				// The stop was heard in d, which ends well.
				if !errors.Is(err, ErrStopped) {
					t.Fatal(err)
				}
			} else if err == nil {
				t.Fatal("no error")
			}
			if got := recorded(t, j); slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "undone") }) || w.values["c@cluster"] != "new" {
				t.Errorf("%v: %v, %v", err, got, w.values)
			}
		})
	}
}

func stopping(check func(context.Context, reader) (Finding, error), stop chan struct{}) func(context.Context, reader) (Finding, error) {
	return func(ctx context.Context, v reader) (Finding, error) {
		close(stop)
		return check(ctx, v)
	}
}

func breaking(w *world, apply func(context.Context, writer, Before) error) func(context.Context, writer, Before) error {
	return func(ctx context.Context, h writer, b Before) error {
		w.guard = func() error { return errNotYet }
		return apply(ctx, h, b)
	}
}

func TestAWayBackThatFailsSaysWhatIsStillInPlace(t *testing.T) {
	t.Parallel()
	w, j, heard := newWorld(), newJournal(t), &told{}
	cause := errors.New("it broke")
	away := true
	w.touch = func(s StepID, target, value string) error {
		if s == "c" && value == "old" && away {
			return errNoRoute
		}
		return nil
	}
	r := runner(w, j)
	r.Events = heard
	p := group(refused(&cause))
	err := r.Run(t.Context(), p)
	var broken *StepError
	if !errors.As(err, &broken) || broken.Step != "d" || broken.Op != OpApply || !errors.Is(err, cause) || !errors.Is(err, errNoRoute) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"undone: d on cluster; undoing ended with an error: c on cluster: undo: no route to host; ",
		"still in place: c on cluster, b on e2, b on e1: `migrate run`"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if rec := record(t, j, "c", ClusterTarget); rec.Status != state.Failed || rec.FailedIn != state.Undoing || rec.Before["was"] != "old" {
		t.Errorf("record %+v", rec)
	}
	if last := heard.lines()[len(heard.events)-1]; last != "4/6 step-failed c@cluster: c on cluster: undo: no route to host" {
		t.Errorf("the last event is %q", last)
	}
	cause, away = nil, false
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if rec := record(t, j, "c", ClusterTarget); rec.Status != state.Verified || rec.Before["was"] != "old" {
		t.Errorf("record %+v", rec)
	}
}

func TestAnUndoIsWaitedForUntilTheCheckSeesIt(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"in time": 20 * time.Second, "not in time": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				env, j, heard := &clocked{world: newWorld()}, newJournal(t), &told{}
				cause := errors.New("it broke")
				p := group(refused(&cause), func(s *Step[reader, writer]) {
					undo, check, gone := s.Undo, s.Check, time.Time{}
					s.Undo = func(ctx context.Context, h writer, b Before) error {
						gone = time.Now().Add(takes)
						time.Sleep(2 * time.Second)
						env.waited += time.Second
						return undo(ctx, h, b)
					}
					s.Check = func(ctx context.Context, v reader) (Finding, error) {
						if time.Now().Before(gone) {
							return Finding{Verdict: Satisfied, Reason: "it is going"}, nil
						}
						return check(ctx, v)
					}
				})
				r := Runner[reader, writer]{Env: env, Journal: j, Spec: "s", Events: heard}
				err := r.Run(t.Context(), p)
				var expired *TimeoutError
				if late := takes > time.Minute; errors.As(err, &expired) != late || late && !strings.Contains(err.Error(), "its check says satisfied: it is going") {
					t.Fatalf("got %v", err)
				}
				i := slices.IndexFunc(heard.events, func(e Event) bool { return e.Kind == EventStepUndone })
				if takes < time.Minute && (heard.events[i].Step != "d" || heard.events[i].Elapsed != takes || heard.events[i].Waited != takes-time.Second) {
					t.Errorf("%+v", heard.events[i])
				}
			})
		})
	}
}

func TestTheInvariantsAreAskedForAfterTheWayBack(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	cause := errors.New("it broke")
	w.guard = func() error {
		if len(w.ops) > 10 {
			return errNotYet
		}
		return nil
	}
	err := runner(w, j).Run(t.Context(), group(refused(&cause)))
	if !errors.Is(err, cause) || !errors.Is(err, errNotYet) || !strings.Contains(err.Error(), "all is undone, and the cluster is not healthy: ") {
		t.Fatalf("got %v", err)
	}
}

func TestInterruptedOnTheWayBack(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.touch = func(s StepID, _, value string) error {
		if s == "c" && value == "old" {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	cause := errors.New("it broke")
	p := group(refused(&cause))
	err := runner(w, j).Run(ctx, p)
	var interrupted *InterruptedError
	if !errors.Is(err, cause) || !errors.As(err, &interrupted) || interrupted.Op != OpUndo || interrupted.Step != "c" || interrupted.Status != state.Undoing {
		t.Fatalf("got %v", err)
	}
	if rec := record(t, j, "b", "e2"); rec.Status != state.Verified {
		t.Errorf("it went on: %+v", rec)
	}
	cause, w.touch = nil, func(StepID, string, string) error { return nil }
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// TestKilledAtAnyInstantOfAWayBack has a step group whose last step fails, kills
// the run at every instant, and then runs again: first with the cause still
// there, which must end with everything undone, then without it.
func TestKilledAtAnyInstantOfAWayBack(t *testing.T) {
	t.Parallel()
	for kill := 1; ; kill++ {
		cause := errors.New("it broke")
		l := newLab(t, newWorld(), group(func(s *Step[reader, writer]) {
			s.Settle, s.Verify = time.Millisecond, func(context.Context, reader) error { return cause } // one attempt
		}))
		l.values["c@cluster"] = "odd"
		l.initial = maps.Clone(l.values)
		died, err := l.run(t.Context(), kill)
		if !died && !errors.Is(err, cause) {
			t.Fatal(err)
		}
		if !died {
			t.Logf("%d instants", kill-1)
			return
		}
		if died, err := l.run(t.Context(), 0); died || !errors.Is(err, cause) || strings.Contains(err.Error(), "still in place") {
			t.Fatalf("instant %d: the cause is there still: %v", kill, err)
		}
		for _, at := range []string{"b@e1", "b@e2", "c@cluster", "d@cluster"} {
			if want := max(l.initial[at], ""); l.values[at] != want && (want != "" || l.values[at] != "old") {
				t.Errorf("instant %d: %s is %q", kill, at, l.values[at])
			}
		}
		cause = nil
		if died, err := l.run(t.Context(), 0); died || err != nil {
			t.Fatalf("instant %d: the last run: %v", kill, err)
		}
		if l.check(t, t.Context()); t.Failed() {
			t.Fatal(fmt.Sprint("killed at the instant ", kill))
		}
	}
}
