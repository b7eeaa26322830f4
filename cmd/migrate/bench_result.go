package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/report"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
)

// What a benchmark expects of itself; a sceptic may be stricter.
const (
	minRequests  = 20_000
	quietFactor  = 3     // write p99 may be that many times the quiet one ...
	writeP99Ms   = 250.0 // ... or this, whichever is larger
	predictedOff = 0.5   // by which part the announced outage may be off
)

// benchResult is the JSON of `migrate bench`.
type benchResult struct {
	At         time.Time       `json:"at"`
	Strategies []report.Report `json:"strategies"`
	Checks     []check         `json:"checks"`
}

// check is one expectation, with what was seen.
type check struct {
	Name string `json:"name"`
	Seen string `json:"seen"`
	OK   bool   `json:"ok"`
}

func benchChecks(inPlace, overlap report.Report) []check {
	var list []check
	add := func(name string, ok bool, format string, args ...any) {
		list = append(list, check{name, fmt.Sprintf(format, args...), ok})
	}
	for _, r := range []report.Report{inPlace, overlap} {
		if r.Probe == nil {
			add("probed", false, "%s was not measured", r.Strategy)
			return list
		}
	}
	requests, failures := overlap.Probe.Requests(), overlap.Probe.Failures()
	add("overlap: no failed request", failures == 0, "%d of %d failed", failures, requests)
	add(fmt.Sprintf("overlap: at least %d requests", minRequests), requests >= minRequests, "%d", requests)
	add("overlap: no missed event", overlap.Probe.MissedEvents() == 0, "%d missed", overlap.Probe.MissedEvents())
	for _, p := range overlap.Probe.Paths {
		for _, k := range p.Kinds {
			if k.Kind != probe.KeptWrite {
				continue
			}
			limit := writeP99Ms
			if k.QuietP99Ms != nil {
				limit = max(limit, quietFactor**k.QuietP99Ms)
			}
			add(fmt.Sprintf("overlap: write p99 through %s from %s at most %.0f ms", p.Name, k.From, limit), k.P99Ms <= limit, "%.1f ms", k.P99Ms)
		}
	}
	seen, said := longestOld(*inPlace.Probe), inPlace.AnnouncedOutageSeconds
	add(fmt.Sprintf("in-place: the outage announced (%.0f s) within %.0f %%", said, predictedOff*100),
		said > 0 && math.Abs(seen-said) <= predictedOff*said, "%.1f s without an API at the old address", seen)
	return list
}

// longestOld is how long the old address was away altogether: failed new
// connections times their rhythm. Each gap is announced by a step of its own,
// so their sum is what compares with the plan.
func longestOld(r probe.Result) float64 {
	for _, p := range r.Paths {
		if p.Name != "old-address" {
			continue
		}
		for _, k := range p.Kinds {
			if k.Kind == probe.NewConnectionRead {
				return float64(k.Failures) * r.IntervalMs / 1000
			}
		}
	}
	return 0
}

func failedChecks(list []check) error {
	var bad []string
	for _, c := range list {
		if !c.OK {
			bad = append(bad, c.Name+": "+c.Seen)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not as it should be: %s", strings.Join(bad, "; "))
	}
	return nil
}

func printBench(w io.Writer, r benchResult) {
	t := tabular.New(w, "strategy", "path", "from", "kind", "requests", "failed", "longest gap", "p99 ms", "quiet p99 ms")
	for _, s := range r.Strategies {
		if s.Probe == nil {
			continue
		}
		for _, p := range s.Probe.Paths {
			for _, k := range p.Kinds {
				quiet := "–"
				if k.QuietP99Ms != nil {
					quiet = fmt.Sprintf("%.1f", *k.QuietP99Ms)
				}
				t.Add(s.Strategy, p.Name, k.From, k.Kind, k.Requests, k.Failures,
					fmt.Sprintf("%.1f s", k.LongestGapSeconds), fmt.Sprintf("%.1f", k.P99Ms), quiet)
			}
		}
		t.Separate()
	}
	t.Render()
	for _, s := range r.Strategies {
		if s.Probe == nil {
			continue
		}
		for _, note := range s.Probe.Notes() {
			show.Fprintf(w, "%s: %s\n", s.Strategy, note)
		}
	}
	show.Fprintln(w)
	t = tabular.New(w, "strategy", "phase 1", "phase 2", "phase 3", "all", "two voters", "API away: announced", "seen", "failed")
	for _, s := range r.Strategies {
		row := []any{s.Strategy}
		for _, p := range s.Phases {
			row = append(row, fmt.Sprintf("%.0f s", p.Seconds))
		}
		row = append(row, fmt.Sprintf("%.0f s", s.Seconds), fmt.Sprintf("%.1f s", s.TwoVoterSeconds), fmt.Sprintf("%.0f s", s.AnnouncedOutageSeconds))
		if s.Probe != nil {
			row = append(row, fmt.Sprintf("%.1f s", longestOld(*s.Probe)), fmt.Sprintf("%d of %d", s.Probe.Failures(), s.Probe.Requests()))
		}
		t.Add(row...)
	}
	t.Render()
	show.Fprintln(w)
	for _, c := range r.Checks {
		mark := "ok  "
		if !c.OK {
			mark = "BAD "
		}
		show.Fprintf(w, "%s%s: %s\n", mark, c.Name, c.Seen)
	}
}
