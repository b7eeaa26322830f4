package state

import (
	"errors"
	"testing"
)

// TestNextOverItsFullProduct holds the whole table: every status with every
// event. "-" is a refusal.
func TestNextOverItsFullProduct(t *testing.T) {
	t.Parallel()
	events := []Event{Found, Start, ApplyDone, VerifyDone, UndoStart, UndoDone, Fail, Adopt}
	table := map[Status][]Status{
		//          found      start    apply    verify    undo     undone  fail  adopt
		Pending:   {Satisfied, Started, "-", "-", "-", "-", "-", Verified},
		Satisfied: {"-", Started, "-", "-", "-", "-", "-", "-"},
		Started:   {"-", Started, Applied, Verified, Undoing, "-", Failed, "-"},
		Applied:   {"-", Started, "-", Verified, Undoing, "-", Failed, "-"},
		Verified:  {"-", Started, "-", "-", Undoing, "-", "-", "-"},
		Undoing:   {"-", Started, "-", Verified, Undoing, Undone, Failed, "-"},
		Undone:    {Satisfied, Started, "-", "-", "-", "-", "-", "-"},
		Failed:    {"-", Started, "-", Verified, Undoing, "-", Failed, "-"},
	}
	if len(table) != len(Statuses()) || len(events) != len(Events()) {
		t.Fatalf("the table has %d statuses and %d events, want %d and %d", len(table), len(events), len(Statuses()), len(Events()))
	}
	for _, from := range Statuses() {
		for i, e := range events {
			want := table[from][i]
			got, err := Next(from, e)
			var refused *TransitionError
			switch {
			case want == "-" && !errors.As(err, &refused):
				t.Errorf("Next(%s, %s) = %q, %v; want a refusal", from, e, got, err)
			case want == "-" && (refused.From != from || refused.Event != e):
				t.Errorf("Next(%s, %s) refused %+v", from, e, refused)
			case want != "-" && (err != nil || got != want):
				t.Errorf("Next(%s, %s) = %q, %v; want %s", from, e, got, err, want)
			}
		}
	}
}

func TestNextRefusesWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	if got, err := Next("half-done", Start); err == nil {
		t.Errorf("an unknown status went to %q", got)
	}
	if got, err := Next(Started, "explode"); err == nil {
		t.Errorf("an unknown event led to %q", got)
	}
}

func TestTouchedAndUnfinished(t *testing.T) {
	t.Parallel()
	touched := map[Status]bool{Started: true, Applied: true, Verified: true, Undoing: true, Failed: true}
	for _, s := range Statuses() {
		if s.Touched() != touched[s] {
			t.Errorf("%s.Touched() = %v", s, s.Touched())
		}
		if want := touched[s] && s != Verified; s.Unfinished() != want {
			t.Errorf("%s.Unfinished() = %v", s, s.Unfinished())
		}
		// What we touched can be undone, and nothing else can.
		if _, err := Next(s, UndoStart); (err == nil) != touched[s] {
			t.Errorf("undo of a step that is %s: %v", s, err)
		}
	}
}
