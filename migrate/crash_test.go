package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hamigrate/state"
)

// crashed is what a killed process leaves: nothing. It is thrown as a panic
// through the engine, so that no line of it runs afterwards but deferred ones.
type crashed struct{}

// lab runs a phase over a world in which the process can be killed before and
// after each remote command and each write of the journal, and keeps watch
// over the engine's duties.
type lab struct {
	*world
	journal *state.Journal
	phase   Phase[reader, writer]
	initial map[string]string
	points  int             // instants passed in this run
	kill    int             // the instant at which to die; 0: never
	fail    map[string]bool // remote commands that fail once
	broken  []string        // duties violated
}

func newLab(t testing.TB, w *world, p Phase[reader, writer]) *lab {
	l := &lab{world: w, journal: newJournal(t), phase: p, initial: maps.Clone(w.values), fail: map[string]bool{}}
	w.touch = l.command
	// The invariants are broken by a step that is half done, as a real one
	// may be; nothing else breaks them.
	w.guard = func() error {
		for step, value := range w.values {
			if value == "half" {
				return fmt.Errorf("%s is half done", step)
			}
		}
		return nil
	}
	return l
}

// instant is a moment at which the process may be killed.
func (l *lab) instant() {
	if l.points++; l.points == l.kill {
		panic(crashed{})
	}
}

// command stands before and after each remote command. It holds duty 3:
// started, or undoing, and the pre-image are on disk by then.
func (l *lab) command(step StepID, target, value string) error {
	l.instant()
	at := string(step) + "@" + target
	rec, err := l.journal.Record(keyOf(l.phase.Number, step, target))
	was := l.initial[at]
	if was == "" {
		was = "old"
	}
	may := []state.Status{state.Started}
	switch value {
	case "half":
		may = append(may, state.Undoing)
	case was:
		may = []state.Status{state.Undoing}
	}
	if err != nil || !slices.Contains(may, rec.Status) || rec.Before["was"] != was {
		l.broken = append(l.broken, fmt.Sprintf("command on %s with the record %+v, %v", at, rec, err))
	}
	if key := at + value; l.fail[key] {
		delete(l.fail, key)
		return errNoRoute
	}
	l.values[at] = value
	l.instant()
	return nil
}

// Advance, BeginPhase and BeginRun make the lab a Journal that may die around
// each write.
func (l *lab) Advance(k state.Key, c state.Change) (state.Record, error) {
	l.instant()
	rec, err := l.journal.Advance(k, c)
	l.instant()
	return rec, err
}

func (l *lab) BeginPhase(phase int, spec, declaration string, choice map[string]string) error {
	l.instant()
	err := l.journal.BeginPhase(phase, spec, declaration, choice)
	l.instant()
	return err
}

func (l *lab) BeginRun(phase int) (func(string, bool) error, error) {
	l.instant()
	end, err := l.journal.BeginRun(phase)
	return func(result string, completed bool) error {
		l.instant()
		err := end(result, completed)
		l.instant()
		return err
	}, err
}

func (l *lab) Records(phase int) ([]state.Record, error) { return l.journal.Records(phase) }
func (l *lab) Phase(phase int) (state.Phase, error)      { return l.journal.Phase(phase) }

// run runs the phase until the kill-th instant and says whether it died.
func (l *lab) run(ctx context.Context, kill int) (died bool, err error) {
	l.points, l.kill = 0, kill
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crashed); !ok {
				panic(r)
			}
			died = true
		}
	}()
	return false, runner(l.world, l).Run(ctx, l.phase)
}

// check holds what must be true after a run that ended well.
func (l *lab) check(t interface {
	Helper()
	Errorf(string, ...any)
}, ctx context.Context) {
	t.Helper()
	all, err := visits(ctx, l.world, l.phase)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, v := range all {
		at := string(v.ID) + "@" + v.target
		rec, err := l.journal.Record(keyOf(l.phase.Number, v.ID, v.target))
		want, was := state.Verified, l.initial[at]
		switch was {
		case "new":
			want, was = state.Satisfied, ""
		case "":
			was = "old"
		}
		if err != nil || l.values[at] != "new" || rec.Status != want || rec.Before["was"] != was {
			t.Errorf("%s is %q in the world with the record %+v (%v), want %s with the pre-image %q", at, l.values[at], rec, err, want, was)
		}
	}
	for _, b := range l.broken {
		t.Errorf("duty violated: %s", b)
	}
	if p, err := l.journal.Phase(l.phase.Number); err != nil || p.Completed.IsZero() {
		t.Errorf("phase %+v, %v", p, err)
	}
	if runs, err := l.journal.Runs(); err != nil || runs[len(runs)-1].Result != "done" {
		t.Errorf("runs %+v, %v", runs, err)
	}
}

// TestKilledAtAnyInstantThenRunAgain goes through every instant of a phase
// with all kinds of steps, and for each also through every instant of the
// resume.
func TestKilledAtAnyInstantThenRunAgain(t *testing.T) {
	t.Parallel()
	start := func() *lab {
		w := newWorld()
		w.values["b@e1"], w.values["a@cluster"] = "new", "odd"
		return newLab(t, w, phase(step("a", Once), step("b", EtcdHosts, rolling), step("c", EtcdHosts, rolling, needs("b"))))
	}
	l := start()
	if died, err := l.run(t.Context(), 0); died || err != nil {
		t.Fatal(died, err)
	}
	l.check(t, t.Context())
	total := l.points
	for kill := 1; kill <= total; kill++ {
		l := start()
		if died, err := l.run(t.Context(), kill); !died {
			t.Fatalf("instant %d of %d: did not die: %v", kill, total, err)
		}
		again := 1 + (kill*7)%total
		if died, err := l.run(t.Context(), again); !died && err != nil {
			t.Fatalf("instants %d and %d: %v", kill, again, err)
		}
		if died, err := l.run(t.Context(), 0); died || err != nil {
			t.Fatalf("instants %d and %d: the last run: %v", kill, again, err)
		}
		l.check(t, t.Context())
		if t.Failed() {
			t.Fatalf("killed at the instants %d and %d", kill, again)
		}
	}
	t.Logf("%d instants", total)
}

// TestAnyPhaseAnyWorldAnyFaults is the same with everything drawn: the steps,
// a step group, what is there already, kills, failing commands, cancellation.
func TestAnyPhaseAnyWorldAnyFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		var steps []Step[reader, writer]
		first := rapid.IntRange(0, 4).Draw(rt, "first of the group")
		last := first + rapid.IntRange(0, 2).Draw(rt, "more in the group")
		for i := range rapid.IntRange(1, 4).Draw(rt, "steps") {
			s := step(StepID(fmt.Sprintf("s%d", i)), rapid.SampledFrom([]Selector{Once, EtcdHosts, Workers, JoiningControlPlanes}).Draw(rt, "on"))
			s.Rolling = rapid.Bool().Draw(rt, "rolling")
			for _, earlier := range steps {
				if rapid.IntRange(0, 3).Draw(rt, "need") == 0 {
					s.Needs = append(s.Needs, earlier.ID)
				}
			}
			if i >= first && i <= last {
				s.Rolling = false
				grouped(&s)
			}
			steps = append(steps, s)
			for _, target := range w.targets[s.On] {
				if v := rapid.SampledFrom([]string{"", "", "new", "odd"}).Draw(rt, "value"); v != "" {
					w.values[string(s.ID)+"@"+target] = v
				}
			}
		}
		l := newLab(t, w, phase(steps...))
		for range rapid.IntRange(0, 4).Draw(rt, "runs") {
			l.disturbedRun(t.Context(), rt)
		}
		clear(l.fail)
		if died, err := l.run(t.Context(), 0); died || err != nil {
			rt.Fatalf("the last run: %v", err)
		}
		l.check(rt, t.Context())
		lines := written(t, l.journal)
		if died, err := l.run(t.Context(), 0); died || err != nil {
			rt.Fatalf("once more: %v", err)
		}
		if now := written(t, l.journal); now != lines {
			rt.Fatalf("a complete phase wrote %d lines", now-lines)
		}
	})
}

// disturbedRun is a run with one drawn fault, whose error must be one that
// the fault explains.
func (l *lab) disturbedRun(ctx context.Context, rt *rapid.T) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kill := 0
	switch rapid.SampledFrom([]string{"kill", "fail", "cancel"}).Draw(rt, "fault") {
	case "kill":
		kill = rapid.IntRange(1, 60).Draw(rt, "instant")
	case "fail":
		for _, s := range l.phase.Steps {
			for _, target := range l.targets[s.On] {
				value := rapid.SampledFrom([]string{"half", "new", "old", "", ""}).Draw(rt, "command")
				l.fail[string(s.ID)+"@"+target+value] = value != ""
			}
		}
	case "cancel":
		left := rapid.IntRange(1, 12).Draw(rt, "commands")
		defer func(touch func(StepID, string, string) error) { l.touch = touch }(l.touch)
		l.touch = func(s StepID, target, value string) error {
			if left--; left == 0 {
				cancel()
				return ctx.Err()
			}
			return l.command(s, target, value)
		}
	}
	died, err := l.run(ctx, kill)
	var interrupted *InterruptedError
	if !died && err != nil && !errors.Is(err, errNoRoute) && !errors.As(err, &interrupted) {
		rt.Fatalf("a run ended with %v", err)
	}
	if diff := cmp.Diff([]string(nil), l.broken); diff != "" {
		rt.Fatal(diff)
	}
}
