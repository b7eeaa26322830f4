package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/simulator"
)

// Stage is a world with an operator, at some point of the migration.
type Stage struct {
	*testing.T
	*simulator.World
	*Operator
}

// On begins a test in a world where the first phases are done.
func On(t *testing.T, done int, strategy phases.Strategy, play func(Stage), options ...simulator.Option) {
	t.Helper()
	t.Parallel()
	var begun *start // nil: of this test alone
	if len(options) == 0 {
		begun = startAt(t, done, strategy)
	}
	synctest.Test(t, func(t *testing.T) {
		w, journal := begin(t, begun, done, strategy, options)
		defer w.Close()
		o := NewOperator(t, w, journal)
		defer func() { o.Close() }()
		play(Stage{t, w, o})
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

// begin makes a world in which the first phases are done, with the journal of them.
func begin(t *testing.T, begun *start, done int, strategy phases.Strategy, options []simulator.Option) (w *simulator.World, journal string) {
	t.Helper()
	journal = filepath.Join(t.TempDir(), "journal")
	if begun != nil {
		if err := os.WriteFile(journal, begun.journal, 0o600); err != nil {
			t.Fatal(err)
		}
		return begun.world.World(t), journal
	}
	w = simulator.New(t, options...)
	o := NewOperator(t, w, journal)
	defer o.Close()
	for _, p := range PhasesOf(w.Spec, strategy)[:done] {
		if err := o.RunPhase(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return w, journal
}

// Script runs a script as root on a host, as somebody other than the operator.
func (s Stage) Script(host, script string) {
	s.T.Helper()
	if err := s.Root(host, script); err != nil {
		s.Fatal(err)
	}
}

// Phase runs a phase as a new start of the program.
func (s Stage) Phase(number int, strategy phases.Strategy) error {
	s.Operator.Close()
	*s.Operator = *NewOperator(s.T, s.World, s.Operator.Path)
	return s.Operator.RunPhase(s.Context(), PhasesOf(s.World.Spec, strategy)[number-1])
}

// Blocked wants an error that says so, with these words in it, and nothing
// changed meanwhile.
func (s Stage) Blocked(number int, words ...string) {
	s.T.Helper()
	ops := len(s.Faults.Ops())
	err := s.Phase(number, phases.Overlap)
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
