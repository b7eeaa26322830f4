package conformance

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// NoJournal is a journal without records.
type NoJournal struct{}

func (NoJournal) Records(int) ([]state.Record, error) { return nil, nil }

// Law is one step on one target.
type Law struct {
	T      *testing.T
	World  *simulator.World
	Env    *phases.Access
	Step   phases.Step
	Target string
	Before migrate.Before
}

// Fatal ends the test and names the step and its target.
func (l Law) Fatal(format string, args ...any) {
	l.T.Helper()
	l.T.Fatalf("%s on %s: %s", l.Step.ID, l.Target, fmt.Sprintf(format, args...))
}

// Hold says whether there was something to apply, and how it was before.
func (l Law) Hold() (before migrate.Before, changed bool) {
	ctx := l.T.Context()
	first := l.check(ctx)
	if first.Verdict == migrate.Satisfied {
		return nil, false
	}
	if first.Verdict != migrate.Needed {
		l.Fatal("%s: %s", first.Verdict, first.Reason)
	}
	if l.Before = first.Before; l.Step.Undo != nil {
		none := l.World.State()
		l.Undo(ctx)
		if now := l.World.State(); !maps.Equal(none, now) {
			l.Fatal("undone before it was applied, it has changed something:\n%s", cmp.Diff(none, now))
		}
	}
	l.apply(ctx, first.Before)
	once := l.World.State()
	l.apply(ctx, first.Before)
	if twice := l.World.State(); !maps.Equal(once, twice) {
		l.Fatal("applied twice, the world is another one than applied once:\n%s", cmp.Diff(once, twice))
	}
	return first.Before, true
}

// Undo does what the engine does on the way back.
func (l Law) Undo(ctx context.Context) {
	if err := l.Step.Undo(ctx, l.Env.Writer(l.Target), l.Before); err != nil {
		l.Fatal("undo: %v", err)
	}
	l.World.Pass(30 * time.Second)
	if f := l.check(ctx); f.Verdict != migrate.Needed {
		l.Fatal("undone, but Check says %s: %s", f.Verdict, f.Reason)
	}
}

// check looks twice, and wants the world as it was.
func (l Law) check(ctx context.Context) (f migrate.Finding) {
	l.same("Check", func() {
		for range 2 {
			var err error
			if f, err = l.Step.Check(ctx, l.Env.Reader(l.Target)); err != nil {
				l.Fatal("check: %v", err)
			}
		}
	})
	return f
}

// same wants do to change nothing.
func (l Law) same(name string, do func()) {
	before, ops := l.World.State(), len(l.World.Faults.Ops())
	do()
	if after := l.World.State(); !maps.Equal(before, after) {
		l.Fatal("%s has changed something:\n%s", name, cmp.Diff(before, after))
	}
	if now := l.World.Faults.Ops(); len(now) != ops {
		l.Fatal("%s has made changes: %q", name, now[ops:])
	}
}

// apply does what the engine does, and then lets everything settle.
func (l Law) apply(ctx context.Context, before migrate.Before) {
	if err := l.Step.Apply(ctx, l.Env.Writer(l.Target), before); err != nil {
		l.Fatal("apply: %v", err)
	}
	if err := l.verify(ctx); err != nil {
		l.Fatal("verify: timed out after %s; last error: %v; %q", l.Step.Settle, err, l.World.Broken())
	}
	l.World.Pass(30 * time.Second)
	l.same("Verify", func() {
		if err := l.Step.Verify(ctx, l.Env.Reader(l.Target)); err != nil {
			l.Fatal("verified, and half a minute later: %v", err)
		}
	})
	if f := l.check(ctx); f.Verdict != migrate.Satisfied {
		l.Fatal("applied and verified, but Check says %s: %s", f.Verdict, f.Reason)
	}
}

func (l Law) verify(ctx context.Context) (err error) {
	for end := time.Now().Add(l.Step.Settle); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		ops := len(l.World.Faults.Ops())
		err = l.Step.Verify(ctx, l.Env.Reader(l.Target))
		if now := l.World.Faults.Ops(); len(now) != ops {
			l.Fatal("Verify has made changes: %q", now[ops:])
		}
		if err == nil {
			return nil
		}
	}
	return err
}
