package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/state"
)

func TestPlanShowsEveryStepAndChangesNothing(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	w.values["a@cluster"], w.values["c@e2"] = "new", "stuck"
	p := phase(step("a", Once), step("b", Once, needs("a"), func(s *Step[reader, writer]) {
		s.Undo, s.OneWay, s.Outage = func(context.Context, writer, Before) error { return nil }, "", 40*time.Second
	}), step("c", EtcdHosts, needs("b")))
	if _, err := j.Advance(state.Key{Phase: 2, Step: "c", Target: "e1"}, state.Change{Event: state.Start}); err != nil {
		t.Fatal(err)
	}
	entries, err := Plan(t.Context(), w, p, j)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Step: "a", Target: "cluster", Finding: Finding{Verdict: Satisfied, Reason: "it is new"}, Undo: "one-way: not yet", Recorded: state.Pending},
		{Step: "b", Target: "cluster", Finding: Finding{Verdict: Needed, Reason: "it is old", Before: Before{"was": "old"}}, Outage: 40 * time.Second, Undo: "undo", Recorded: state.Pending},
		{Step: "c", Target: "e1", Finding: Finding{Verdict: Needed, Reason: "it is old", Before: Before{"was": "old"}}, Undo: "one-way: not yet", Recorded: state.Started, WaitsFor: []StepID{"b"}},
		{Step: "c", Target: "e2", Finding: Finding{Verdict: Blocked, Reason: "it is stuck", Remedy: "free it"}, Undo: "one-way: not yet", Recorded: state.Pending, WaitsFor: []StepID{"b"}},
	}
	for i := range want {
		want[i].Phase, want[i].Title, want[i].Why = 2, "Do "+string(want[i].Step), "Because."
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Error(diff)
	}
	if len(w.ops) != 0 || written(t, j) != 1 {
		t.Errorf("the plan did %v", w.ops)
	}
}

func TestPlanEndsAtACheckThatFails(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	p := phase(step("a", Once), step("b", Once, func(s *Step[reader, writer]) {
		s.Check = func(context.Context, reader) (Finding, error) { return Finding{}, errNoRoute }
	}))
	entries, err := Plan(t.Context(), w, p, j)
	var broken *StepError
	if len(entries) != 1 || !errors.As(err, &broken) || broken.Op != OpCheck || broken.Step != "b" || !errors.Is(err, errNoRoute) {
		t.Errorf("%d entries and %v", len(entries), err)
	}
}

// TestJSONOfEntriesAndEvents holds the contract with whoever reads -o json.
func TestJSONOfEntriesAndEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    any
		want string
	}{
		{Entry{Phase: 1, Step: "a", Title: "T", Why: "W", Target: "cp1", Outage: 1500 * time.Millisecond, Undo: "undo", Recorded: state.Pending,
			Finding: Finding{Verdict: Needed, Reason: "r", Before: Before{"k": "v"}, Changes: []Change{{"o", "b", "a"}}}},
			`{"phase":1,"step":"a","title":"T","why":"W","target":"cp1","finding":{"verdict":"needed","reason":"r","before":{"k":"v"},` +
				`"changes":[{"object":"o","before":"b","after":"a"}]},"undo":"undo","recorded":"pending","outageSeconds":1.5}`},
		{Event{Kind: EventStepDone, Phase: 1, PhaseName: "p", Step: "a", Title: "T", Target: "cp1", Index: 1, Total: 2,
			At: time.Unix(0, 0).UTC(), Elapsed: 2 * time.Second, Waited: 1500 * time.Millisecond},
			`{"kind":"step-done","phase":1,"phaseName":"p","step":"a","title":"T","target":"cp1","index":1,"total":2,` +
				`"at":"1970-01-01T00:00:00Z","elapsedSeconds":2,"waitedSeconds":1.5,"outageSeconds":0}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
