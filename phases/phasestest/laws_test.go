package phasestest_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

// TestLawsOfEveryStep goes through all phases by hand and holds each step, on
// each of its targets, to what the engine relies on:
//
//   - Check changes nothing, and neither does Verify;
//   - after Apply, Verify becomes nil and Check Satisfied;
//   - Apply twice is Apply once;
//   - Undo changes nothing where nothing was applied; after it Check becomes
//     Needed; Undo twice is Undo once; and the steps of a bracket, undone in
//     the reverse order, leave the world as it was before them.
func TestLawsOfEveryStep(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { laws(t, strategy) })
		})
	}
}

func laws(t *testing.T, strategy phases.Strategy) {
	w := phasestest.New(t)
	defer w.Close()
	env := w.Connect()
	defer env.Close()
	applied, undone := 0, 0
	for _, p := range allPhases(strategy) {
		plan, err := migrate.Plan(t.Context(), env, p, noJournal{})
		if err != nil {
			t.Fatal(err)
		}
		steps := map[migrate.StepID]phases.Step{}
		for _, s := range p.Steps {
			steps[s.ID] = s
		}
		var bracket []law
		var before map[string]string
		for i, e := range plan {
			l := law{t: t, world: w, env: env, step: steps[e.Step], target: e.Target}
			if len(bracket) == 0 {
				before = w.State()
			}
			var changed bool
			if l.before, changed = l.hold(); changed {
				applied++
				if l.step.Bracket != "" {
					bracket = append(bracket, l)
				}
			}
			if len(bracket) > 0 && (i == len(plan)-1 || steps[plan[i+1].Step].Bracket != l.step.Bracket) {
				undone += backAndForth(bracket, before)
				bracket = nil
			}
		}
	}
	t.Logf("%d changes, %d of them taken back and made again", applied, undone)
}

// backAndForth undoes the steps of a bracket, newest first, compares the world
// with the one before them, and applies them again.
func backAndForth(bracket []law, before map[string]string) int {
	for _, l := range slices.Backward(bracket) {
		l.undo(l.t.Context())
		once := l.world.State()
		l.undo(l.t.Context())
		if twice := l.world.State(); !maps.Equal(once, twice) {
			l.fatal("undone twice, the world is another one than undone once:\n%s", cmp.Diff(once, twice))
		}
	}
	if now := withoutCopies(bracket[0].world.State()); !maps.Equal(before, now) {
		bracket[0].fatal("undone with the steps after it, the world is another one than before it:\n%s", cmp.Diff(before, now))
	}
	for _, l := range bracket {
		if _, changed := l.hold(); !changed {
			l.fatal("undone, and there is nothing to apply")
		}
	}
	return len(bracket)
}

// withoutCopies leaves out the copies of a changed file that stay on its host.
func withoutCopies(state map[string]string) map[string]string {
	maps.DeleteFunc(state, func(name, _ string) bool {
		return strings.HasPrefix(name, "cp1 /var/lib/migrate/backup/etcd-repoint-apiserver/") || name == "cp1 /var/lib/migrate/kube-apiserver.last-good.yaml"
	})
	return state
}

// noJournal is a journal without records.
type noJournal struct{}

func (noJournal) Records(int) ([]state.Record, error) { return nil, nil }

// law is one step on one target.
type law struct {
	t      *testing.T
	world  *phasestest.World
	env    *phases.World
	step   phases.Step
	target string
	before migrate.Before
}

func (l law) fatal(format string, args ...any) {
	l.t.Helper()
	l.t.Fatalf("%s on %s: %s", l.step.ID, l.target, fmt.Sprintf(format, args...))
}

// hold says whether there was something to apply, and how it was before.
func (l law) hold() (before migrate.Before, changed bool) {
	ctx := l.t.Context()
	first := l.check(ctx)
	if first.Verdict == migrate.Satisfied {
		return nil, false
	}
	if first.Verdict != migrate.Needed {
		l.fatal("%s: %s", first.Verdict, first.Reason)
	}
	if l.before = first.Before; l.step.Undo != nil {
		none := l.world.State()
		l.undo(ctx)
		if now := l.world.State(); !maps.Equal(none, now) {
			l.fatal("undone before it was applied, it has changed something:\n%s", cmp.Diff(none, now))
		}
	}
	l.apply(ctx, first.Before)
	once := l.world.State()
	l.apply(ctx, first.Before)
	if twice := l.world.State(); !maps.Equal(once, twice) {
		l.fatal("applied twice, the world is another one than applied once:\n%s", cmp.Diff(once, twice))
	}
	return first.Before, true
}

// undo does what the engine does on the way back.
func (l law) undo(ctx context.Context) {
	if err := l.step.Undo(ctx, l.env.Hands(l.target), l.before); err != nil {
		l.fatal("undo: %v", err)
	}
	l.world.Pass(30 * time.Second)
	if f := l.check(ctx); f.Verdict != migrate.Needed {
		l.fatal("undone, but Check says %s: %s", f.Verdict, f.Reason)
	}
}

// check looks twice, and wants the world as it was.
func (l law) check(ctx context.Context) (f migrate.Finding) {
	l.same("Check", func() {
		for range 2 {
			var err error
			if f, err = l.step.Check(ctx, l.env.View(l.target)); err != nil {
				l.fatal("check: %v", err)
			}
		}
	})
	return f
}

// same wants do to change nothing.
func (l law) same(name string, do func()) {
	before, ops := l.world.State(), len(l.world.Faults.Ops())
	do()
	if after := l.world.State(); !maps.Equal(before, after) {
		l.fatal("%s has changed something:\n%s", name, cmp.Diff(before, after))
	}
	if now := l.world.Faults.Ops(); len(now) != ops {
		l.fatal("%s has made changes: %q", name, now[ops:])
	}
}

// apply does what the engine does, and then lets everything settle.
func (l law) apply(ctx context.Context, before migrate.Before) {
	if err := l.step.Apply(ctx, l.env.Hands(l.target), before); err != nil {
		l.fatal("apply: %v", err)
	}
	if err := l.verify(ctx); err != nil {
		l.fatal("verify: still not so after %s: %v; %q", l.step.Settle, err, l.world.Broken())
	}
	l.world.Pass(30 * time.Second)
	l.same("Verify", func() {
		if err := l.step.Verify(ctx, l.env.View(l.target)); err != nil {
			l.fatal("verified, and half a minute later: %v", err)
		}
	})
	if f := l.check(ctx); f.Verdict != migrate.Satisfied {
		l.fatal("applied and verified, but Check says %s: %s", f.Verdict, f.Reason)
	}
}

func (l law) verify(ctx context.Context) (err error) {
	for end := time.Now().Add(l.step.Settle); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		ops := len(l.world.Faults.Ops())
		err = l.step.Verify(ctx, l.env.View(l.target))
		if now := l.world.Faults.Ops(); len(now) != ops {
			l.fatal("Verify has made changes: %q", now[ops:])
		}
		if err == nil {
			return nil
		}
	}
	return err
}
