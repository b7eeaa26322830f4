package phasestest_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
)

// stage is a world with an operator, at some point of the migration.
type stage struct {
	*testing.T
	*phasestest.World
	*operator
}

// on begins a test in a world where the first phases are done.
func on(t *testing.T, done int, strategy phases.Strategy, play func(stage), options ...phasestest.Option) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := phasestest.New(t, options...)
		defer w.Close()
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer func() { o.close() }()
		for _, p := range allPhases(strategy)[:done] {
			if err := o.run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		play(stage{t, w, o})
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

func (s stage) root(host, script string) {
	s.T.Helper()
	if err := s.Root(host, script); err != nil {
		s.Fatal(err)
	}
}

// phase runs a phase as a new start of the program.
func (s stage) phase(number int, strategy phases.Strategy) error {
	s.operator.close()
	*s.operator = *newOperator(s.T, s.World, s.operator.path)
	return s.operator.run(s.Context(), allPhases(strategy)[number-1])
}

// blocked wants an error that says so, with these words in it, and nothing
// changed meanwhile.
func (s stage) blocked(number int, words ...string) {
	s.T.Helper()
	ops := len(s.Faults.Ops())
	err := s.phase(number, phases.Overlap)
	if b := new(migrate.BlockedError); !errors.As(err, &b) {
		s.Fatalf("got %v, a blocked phase is wanted", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("%q is not in: %v", w, err)
		}
	}
	if now := s.Faults.Ops(); len(now) != ops {
		s.Errorf("blocked, it made changes: %q", now[ops:])
	}
}
