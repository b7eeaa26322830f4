package probe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSlots: what is known late belongs to the time of its sending, and a
// failure has no latency.
func TestSlots(t *testing.T) {
	t.Parallel()
	var s stats
	at := func(seconds float64) time.Time {
		return time.Unix(1_000_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	s.note(at(1), 3*time.Millisecond, true)
	s.note(at(11), time.Millisecond, true)
	s.note(at(4.9), 2*time.Second, false)
	s.note(at(5), 7*time.Millisecond, true)
	s.note(at(10), 2*time.Millisecond, true)
	want := []Slot{
		{At: 1_000_000_000, Requests: 2, Failures: 1, MaxUs: 3000},
		{At: 1_000_000_005, Requests: 1, MaxUs: 7000},
		{At: 1_000_000_010, Requests: 2, MaxUs: 2000},
	}
	if diff := cmp.Diff(want, s.slots); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
}

// TestSlotsOfAPath: a path's slots are the sums over its kinds, places and
// runs; quiet ones stay apart, and no record is changed.
func TestSlotsOfAPath(t *testing.T) {
	t.Parallel()
	record := func(from string, kind Kind, quiet, run []Slot) Record {
		return Record{Series: []SeriesRecord{{Path: "service", From: from, Kind: kind, Quiet: Counts{Slots: quiet}, Run: Counts{Slots: run}}}}
	}
	first := record("w1", KeptRead, []Slot{{At: 5, Requests: 9}}, []Slot{{At: 10, Requests: 1, MaxUs: 4}})
	r := Results(first, record("cp1", KeptRead, nil, []Slot{{At: 10, Requests: 2, Failures: 1, MaxUs: 9}}),
		record("w1", Watch, nil, []Slot{{At: 15, Requests: 3}}), first)
	if diff := cmp.Diff([]Slot{{At: 10, Requests: 4, Failures: 1, MaxUs: 9}, {At: 15, Requests: 3}}, r.Paths[0].Slots); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Slot{{At: 5, Requests: 18}}, r.Paths[0].QuietSlots); diff != "" {
		t.Errorf("quiet slots (-want +got):\n%s", diff)
	}
	if first.Series[0].Run.Slots[0].Requests != 1 {
		t.Error("the record was changed by reading it")
	}
}
