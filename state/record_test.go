package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func before(v string) map[string]string { return map[string]string{"was": v} }

// TestRecordThroughItsLife is the story of one record, event by event.
func TestRecordThroughItsLife(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Unix(int64(n), 0).UTC() }
	key := Key{Phase: 2, Step: "etcd/add-learner", Target: "e1"}
	steps := []struct {
		name   string
		change Change
		want   Record
	}{
		{"already there", Change{Event: Found},
			Record{Status: Satisfied, Order: 1, Ended: at(1)}},
		{"drifted away: the pre-image is that of the first touch", Change{Event: Start, Before: before("a")},
			Record{Status: Started, Order: 2, Attempts: 1, Before: before("a"), FirstStarted: at(2), Started: at(2)}},
		{"apply failed", Change{Event: Fail, Error: "no route"},
			Record{Status: Failed, FailedIn: Started, Error: "no route", Order: 2, Attempts: 1, Before: before("a"), FirstStarted: at(2), Started: at(2), Ended: at(3)}},
		{"failing again keeps where", Change{Event: Fail, Error: "still none"},
			Record{Status: Failed, FailedIn: Started, Error: "still none", Order: 2, Attempts: 1, Before: before("a"), FirstStarted: at(2), Started: at(2), Ended: at(4)}},
		{"a retry does not overwrite the pre-image", Change{Event: Start, Before: before("b")},
			Record{Status: Started, Order: 2, Attempts: 2, Before: before("a"), FirstStarted: at(2), Started: at(5)}},
		{"applied", Change{Event: ApplyDone},
			Record{Status: Applied, Order: 2, Attempts: 2, Before: before("a"), FirstStarted: at(2), Started: at(5), Applied: at(6)}},
		{"verified", Change{Event: VerifyDone},
			Record{Status: Verified, Order: 2, Attempts: 2, Before: before("a"), FirstStarted: at(2), Started: at(5), Applied: at(6), Ended: at(7)}},
		{"drifted", Change{Event: Start, Before: before("c")},
			Record{Status: Started, Order: 2, Attempts: 3, Before: before("a"), FirstStarted: at(2), Started: at(8)}},
		{"rolled back", Change{Event: UndoStart},
			Record{Status: Undoing, Order: 2, Attempts: 3, Before: before("a"), FirstStarted: at(2), Started: at(8)}},
		{"undo failed", Change{Event: Fail, Error: "x"},
			Record{Status: Failed, FailedIn: Undoing, Error: "x", Order: 2, Attempts: 3, Before: before("a"), FirstStarted: at(2), Started: at(8), Ended: at(10)}},
		{"undo again", Change{Event: UndoStart},
			Record{Status: Undoing, Order: 2, Attempts: 3, Before: before("a"), FirstStarted: at(2), Started: at(8)}},
		{"undone", Change{Event: UndoDone},
			Record{Status: Undone, Order: 2, Attempts: 3, Before: before("a"), FirstStarted: at(2), Started: at(8), Ended: at(12)}},
		{"a new life after the undo has a new pre-image", Change{Event: Start, Before: before("d")},
			Record{Status: Started, Order: 13, Attempts: 1, Before: before("d"), FirstStarted: at(13), Started: at(13)}},
	}
	rec := Record{Key: key, Status: Pending}
	for i, s := range steps {
		next, err := rec.advance(s.change, at(i+1), uint64(i+1))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		s.want.Key = key
		if diff := cmp.Diff(s.want, next); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", s.name, diff)
		}
		rec = next
	}
}

// TestBeforeIsThatOfTheFirstTouch: whatever happens to a record, its
// pre-image is the one given when it last went from untouched to touched.
func TestBeforeIsThatOfTheFirstTouch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rec := Record{Key: Key{1, "a", "b"}, Status: Pending}
		var want map[string]string
		for i := range 40 {
			c := Change{
				Event:  rapid.SampledFrom(Events()).Draw(t, "event"),
				Before: before(rapid.StringN(1, 3, -1).Draw(t, "before")),
			}
			next, err := rec.advance(c, time.Unix(int64(i), 0), uint64(i))
			if err != nil {
				continue // refused: nothing may change, which rec shows
			}
			switch {
			case (c.Event == Start || c.Event == Adopt) && !rec.Status.Touched():
				want = c.Before
			case c.Event == Found:
				want = nil
			}
			if diff := cmp.Diff(want, next.Before); diff != "" {
				t.Fatalf("%s on %s (-want +got):\n%s", c.Event, rec.Status, diff)
			}
			if (next.Status == Failed) != (next.FailedIn != "") {
				t.Fatalf("%s with FailedIn %q", next.Status, next.FailedIn)
			}
			rec = next
		}
	})
}
