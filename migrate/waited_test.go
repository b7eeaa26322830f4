package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// clocked is a world whose Env measures what commands of others take.
type clocked struct {
	*world
	waited time.Duration
	onWait func(error)
}

func (c *clocked) Waited() time.Duration { return c.waited }

func (c *clocked) OnWait(said func(error)) { c.onWait = said }

// ended are the events that end a step or the phase, by step ID; the phase's
// own is under "".
func ended(events []Event) map[StepID]Event {
	last := map[StepID]Event{}
	for _, e := range events {
		switch e.Kind {
		case EventStepDone, EventStepSatisfied, EventPhaseDone, EventStepFailed:
			last[e.Step] = e
		case EventPhaseStarted, EventStepChecking, EventStepStarted, EventStepWaiting, EventStopped:
		}
	}
	return last
}

// after is an answer that is nil from a time on.
func after(at time.Time) error {
	if time.Now().Before(at) {
		return errNotYet
	}
	return nil
}

func TestElapsedIsTheWholeVisitAndWaitedWhatOthersTookOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env, heard := &clocked{world: newWorld(), waited: time.Hour}, &told{}
		took := func(d time.Duration) { time.Sleep(d) }
		const ms = time.Millisecond
		var settled, healthy time.Time // what is waited for
		env.guard = func() error {
			took(10 * ms)
			return after(healthy)
		}
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.WaitsFor = "kubelet"
			check, apply := s.Check, s.Apply
			s.Check = func(ctx context.Context, v reader) (Finding, error) {
				took(invariantsFresh)
				healthy = time.Now().Add(1200 * ms) // the invariants before: tries at 0, 510, 1020, 1530
				return check(ctx, v)
			}
			s.Apply = func(ctx context.Context, h writer, b Before) error {
				took(300 * ms)          // ours
				env.waited += 2000 * ms // kubeadm
				took(2000 * ms)         //
				settled = time.Now().Add(7 * time.Second)
				return apply(ctx, h, b)
			}
			s.Verify = func(context.Context, reader) error {
				took(20 * ms)
				return after(settled) // tries at 0, 520, …, 7280
			}
		}), step("b", Once))
		p.InvariantsSettle = time.Minute
		env.values["b@cluster"] = "new"
		r := Runner[reader, writer]{Env: env, Journal: newJournal(t), Spec: "sha256:spec", Events: heard}
		healthy = time.Now().Add(700 * ms) // the phase's invariants: tries at 0, 510, 1020
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		first, before, apply, verify := 2*510*ms, 3*510*ms, 2000*ms, 14*520*ms
		a, b, all := ended(heard.events)["a"], ended(heard.events)["b"], ended(heard.events)[""]
		if want := before + apply + verify; a.Waited != want {
			t.Errorf("a waited %s, want %s", a.Waited, want)
		}
		if want := invariantsFresh + before + 10*ms + 300*ms + apply + verify + 20*ms + 10*ms; a.Elapsed != want {
			t.Errorf("a took %s, want %s", a.Elapsed, want)
		}
		if b.Kind != EventStepSatisfied || b.Waited != 0 {
			t.Errorf("b: %+v", b)
		}
		if all.Waited != first+a.Waited || all.Elapsed != first+10*ms+a.Elapsed {
			t.Errorf("the phase took %s and waited %s", all.Elapsed, all.Waited)
		}
		for _, e := range heard.events {
			if e.Kind == EventStepWaiting && e.WaitsFor != "kubelet" {
				t.Errorf("%+v", e)
			}
		}
		out, err := json.Marshal(a)
		if err != nil || !strings.Contains(string(out), `"waitedSeconds":10.81,`) {
			t.Errorf("%s, %v", out, err)
		}
	})
}

func TestCommandsSideBySideTookNoLongerThanTheirApply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env, heard := &clocked{world: newWorld()}, &told{}
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.Apply = func(_ context.Context, h writer, _ Before) error {
				time.Sleep(3 * time.Second)
				env.waited += 8 * 3 * time.Second
				return h.set("a", "new")
			}
		}))
		if err := (Runner[reader, writer]{Env: env, Journal: newJournal(t), Spec: "s", Events: heard}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if a := ended(heard.events)["a"]; a.Waited != 3*time.Second || a.Elapsed != a.Waited {
			t.Errorf("took %s and waited %s", a.Elapsed, a.Waited)
		}
	})
}

// A step that gave up says as well how long it waited in vain.
func TestAFailedStepSaysHowLongItWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, heard := newWorld(), &told{}
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.Settle = 10 * time.Second
			s.Verify = func(context.Context, reader) error { return errNotYet }
		}))
		r := runner(w, newJournal(t))
		r.Events = heard
		if err := r.Run(t.Context(), p); !errors.Is(err, errNotYet) {
			t.Fatal(err)
		}
		if a := ended(heard.events)["a"]; a.Kind != EventStepFailed || a.Waited != 10*time.Second {
			t.Errorf("%+v", a)
		}
	})
}

// TestWaitsInsideAChangeAreTold: an Apply that waits says what for after a
// silence, and nobody listens afterwards. Whom Verify waits for is not said.
func TestWaitsInsideAChangeAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		env, heard := &clocked{world: newWorld()}, &told{}
		p := phase(step("a", Once, func(s *Step[reader, writer]) {
			s.WaitsFor = "kubelet"
			apply := s.Apply
			s.Apply = func(ctx context.Context, h writer, b Before) error {
				for range 12 {
					time.Sleep(time.Second)
					env.onWait(errNotYet)
				}
				return apply(ctx, h, b)
			}
		}))
		if err := (Runner[reader, writer]{Env: env, Journal: newJournal(t), Spec: "s", Events: heard}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		var waits []time.Duration
		for _, e := range heard.events {
			if e.Kind == EventStepWaiting {
				if e.Message != errNotYet.Error() || e.WaitsFor != "" || e.Step != "a" {
					t.Errorf("told %+v", e)
				}
				waits = append(waits, e.Elapsed)
			}
		}
		if want := []time.Duration{6 * time.Second, 12 * time.Second}; !slices.Equal(waits, want) {
			t.Errorf("told after %s, want %s", waits, want)
		}
		if env.onWait != nil {
			t.Error("who listened still does")
		}
	})
}
