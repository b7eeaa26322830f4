package phasestest_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

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
