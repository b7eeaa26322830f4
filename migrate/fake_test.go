package migrate

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/state"
)

// world is a cluster for tests: a value for each step and target. A step is
// done when its value is "new"; it takes two remote commands, "half" first.
type world struct {
	values map[string]string
	// touch is called before each remote command and may panic (a crash),
	// or return an error instead of the command having an effect.
	touch   func(step StepID, target, value string) error
	guard   func() error
	targets map[Selector][]string
	ops     []string // what happened, in order
}

func newWorld() *world {
	return &world{
		values: map[string]string{},
		touch:  func(StepID, string, string) error { return nil },
		guard:  func() error { return nil },
		targets: map[Selector][]string{
			Once: {ClusterTarget}, FirstControlPlane: {"cp1"}, EtcdHosts: {"e1", "e2"}, Workers: {"w1", "w2"},
		},
	}
}

// reader reads the world; a writer changes it too.
type reader struct {
	w      *world
	target string
}

type writer struct{ reader }

func (v reader) value(step StepID) string {
	if s, ok := v.w.values[string(step)+"@"+v.target]; ok {
		return s
	}
	return "old"
}

func (h writer) set(step StepID, value string) error {
	if err := h.w.touch(step, h.target, value); err != nil {
		return err
	}
	h.w.ops = append(h.w.ops, fmt.Sprintf("%s@%s=%s", step, h.target, value))
	h.w.values[string(step)+"@"+h.target] = value
	return nil
}

func (w *world) Targets(_ context.Context, on Selector) ([]string, error) { return w.targets[on], nil }
func (w *world) Reader(target string) reader                              { return reader{w, target} }
func (w *world) Writer(target string) writer                              { return writer{reader{w, target}} }

// step declares a step over the world.
func step(id StepID, on Selector, with ...func(*Step[reader, writer])) Step[reader, writer] {
	s := Step[reader, writer]{
		ID: id, Title: "Do " + string(id), Why: "Because.", On: on, OneWay: "not yet", Settle: time.Minute,
		Check: func(_ context.Context, v reader) (Finding, error) {
			switch value := v.value(id); {
			case value == "new":
				return Finding{Verdict: Satisfied, Reason: "it is new"}, nil
			case strings.HasPrefix(value, "stuck"):
				return Finding{Verdict: Blocked, Reason: "it is stuck", Remedy: "free it"}, nil
			default:
				return Finding{Verdict: Needed, Reason: "it is " + value, Before: Before{"was": value}}, nil
			}
		},
		Apply: func(_ context.Context, h writer, _ Before) error {
			if err := h.set(id, "half"); err != nil {
				return err
			}
			return h.set(id, "new")
		},
		Verify: func(_ context.Context, v reader) error {
			if got := v.value(id); got != "new" {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		},
	}
	for _, change := range with {
		change(&s)
	}
	return s
}

func rolling(s *Step[reader, writer]) { s.Rolling = true }

func needs(ids ...StepID) func(*Step[reader, writer]) {
	return func(s *Step[reader, writer]) { s.Needs = ids }
}

func phase(steps ...Step[reader, writer]) Phase[reader, writer] {
	return Phase[reader, writer]{
		Number: 2, Name: "etcd", Title: "Move etcd", Why: "So that it survives.", Steps: steps,
		Invariants:       func(_ context.Context, v reader) error { return v.w.guard() },
		InvariantsSettle: time.Millisecond, // one attempt
	}
}

// told collects events.
type told struct{ events []Event }

func (t *told) Event(e Event) { t.events = append(t.events, e) }

// lines are the events in short, without times.
func (t *told) lines() []string {
	var lines []string
	for _, e := range t.events {
		line := fmt.Sprintf("%d/%d %s", e.Index, e.Total, e.Kind)
		if e.Step != "" {
			line += fmt.Sprintf(" %s@%s", e.Step, e.Target)
		}
		if e.Message != "" {
			line += ": " + e.Message
		}
		lines = append(lines, line)
	}
	return lines
}

func newJournal(t testing.TB) *state.Journal {
	t.Helper()
	j, err := state.Open(filepath.Join(t.TempDir(), "j"), state.Options{Tool: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func runner(w *world, j Journal) Runner[reader, writer] {
	return Runner[reader, writer]{Env: w, Journal: j, Spec: "sha256:spec"}
}

// recorded are the journal's records of the phase: "step@target status".
func recorded(t testing.TB, j Journal) []string {
	t.Helper()
	list, err := j.Records(2)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range list {
		lines = append(lines, fmt.Sprintf("%s@%s %s", r.Step, r.Target, r.Status))
	}
	return lines
}

func record(t testing.TB, j *state.Journal, step, target string) state.Record {
	t.Helper()
	rec, err := j.Record(state.Key{Phase: 2, Step: step, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func written(t testing.TB, j *state.Journal) int {
	t.Helper()
	log, err := j.Log()
	if err != nil {
		t.Fatal(err)
	}
	return len(log)
}
