package probe

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is a record with one series of each kind that says something.
func sample(from string, failures int, samples ...int32) Record {
	return Record{IntervalMs: 100, Series: []SeriesRecord{{
		Path: "service", From: from, Kind: NewConnectionRead,
		Quiet: Counts{Requests: 2, SamplesUs: []int32{1000, 3000}},
		Run: Counts{Requests: len(samples) + failures, Failures: failures, Reasons: map[string]int{"status 503": failures}, Failed: failed(failures),
			Gap: time.Duration(failures) * time.Second, SamplesUs: samples},
	}}}
}

// failed are so many failures, each an hour before the one before it.
func failed(n int) []Failure {
	var list []Failure
	for i := range n {
		list = append(list, Failure{At: time.Date(2026, 3, 14, 15-i, 0, 0, 0, time.UTC), Reason: "status 503", Seconds: 0.1, Connection: "a to b"})
	}
	return list
}

// TestFailuresAreTold: in the order of time, with what was going on then, and
// not more of a series than are kept.
func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	r := Results(sample("w1", 2), sample("cp1", 1), sample("w1", maxFailures))
	r.Explain(func(at time.Time) string { return "hour " + at.Format("15") })
	if n := len(r.Paths[0].Kinds[0].Failed); n != maxFailures {
		t.Errorf("%d failures of w1 are told, not %d", n, maxFailures)
	}
	lines := r.Failed()
	if want := "Failed: 3 more;"; len(lines) != maxFailures+1 || !strings.HasPrefix(lines[maxFailures], want) {
		t.Fatalf("%d lines, not %d, the last one %q: %q", len(lines), maxFailures+1, want, lines)
	}
	want := "Failed: service from w1, new connection read, sent at 2026-03-14 15:00:00.000 UTC: status 503, known after 0.1 s, on a to b (hour 15)"
	if !slices.Contains(lines, want) || !strings.Contains(lines[0], r.Paths[0].Kinds[0].Failed[maxFailures-1].At.Format(time.DateTime)) {
		t.Errorf("told %q; want %q among them, and the earliest first", lines, want)
	}
}

// TestResultsOfSeveralRecords: two runs of one place are one series, another
// place is another one, and a path's percentiles are over all samples.
func TestResultsOfSeveralRecords(t *testing.T) {
	t.Parallel()
	r := Results(sample("w1", 1, 5000, 1000), sample("w1", 2, 3000), sample("cp1", 0, 9000))
	if len(r.Paths) != 1 || len(r.Paths[0].Kinds) != 2 {
		t.Fatalf("paths and kinds: %+v", r.Paths)
	}
	p := r.Paths[0]
	if p.Requests != 7 || p.Failures != 3 || p.LongestGapSeconds != 2 || p.P50Ms != 3 || p.P99Ms != 9 {
		t.Errorf("path: %+v", p)
	}
	w1 := p.Kinds[0]
	if w1.From != "w1" || w1.Requests != 6 || w1.P50Ms != 3 || *w1.QuietP99Ms != 3 || w1.QuietRequests != 4 || w1.Reasons["status 503"] != 3 {
		t.Errorf("w1: %+v", w1)
	}
}

// TestResultsChangeNoRecord: what is stored must not be sorted by reading it.
func TestResultsChangeNoRecord(t *testing.T) {
	t.Parallel()
	r := sample("w1", 1, 5000, 1000, 3000)
	Results(r, sample("w1", 4, 2000))
	if diff := cmp.Diff(sample("w1", 1, 5000, 1000, 3000), r); diff != "" {
		t.Errorf("the record was changed:\n%s", diff)
	}
}

// TestRecordSurvivesJSON: it goes through a socket and into the journal.
func TestRecordSurvivesJSON(t *testing.T) {
	t.Parallel()
	r := sample("w1", 2, 7, 8)
	r.Leftover = "namespace x"
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Record
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("after JSON it is another one:\n%s", diff)
	}
	if Results(back).Leftover != "namespace x" {
		t.Error("the leftover is not told")
	}
}
