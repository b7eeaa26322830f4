package probe

import (
	"maps"
	"slices"
	"time"
)

// Record is what one probe has measured, whole: it can be stored as JSON and
// put together with the records of other probes, of other hosts or of other
// runs, without losing a percentile. Results makes figures of records.
type Record struct {
	IntervalMs float64        `json:"intervalMs"` // between two requests of a path and kind
	Series     []SeriesRecord `json:"series"`
	// Leftover says why the probe's namespace was not deleted.
	Leftover string `json:"leftover,omitempty"`
}

// SeriesRecord is one kind of request through one path from one place.
type SeriesRecord struct {
	Path  string `json:"path"`
	From  string `json:"from"`
	Kind  Kind   `json:"kind"`
	Quiet Counts `json:"quiet"` // before anything was changed
	Run   Counts `json:"run"`
}

// Counts are the figures of a series in one part of the measurement. The
// meaning of each is told at KindResult.
type Counts struct {
	Requests    int            `json:"requests,omitempty"`
	Failures    int            `json:"failures,omitempty"`
	Reasons     map[string]int `json:"reasons,omitempty"`
	Failed      []Failure      `json:"failed,omitempty"` // the first of them
	Skipped     int            `json:"skipped,omitempty"`
	Replays     int            `json:"replays,omitempty"`
	Retries     int            `json:"retries,omitempty"`
	Unjudged    int            `json:"unjudged,omitempty"`
	Connections int            `json:"connections,omitempty"`
	Events      int            `json:"events,omitempty"`
	Missed      int            `json:"missed,omitempty"`
	Rewatches   int            `json:"rewatches,omitempty"`
	Max         time.Duration  `json:"maxNs,omitempty"`
	Gap         time.Duration  `json:"gapNs,omitempty"`
	Late        time.Duration  `json:"lateNs,omitempty"`
	// SamplesUs are latencies in microseconds of requests that succeeded.
	SamplesUs []int32 `json:"samplesUs,omitempty"`
	// Slots are the same requests over time, in its order.
	Slots []Slot `json:"slots,omitempty"`
}

// Record returns what was measured so far; after Stop it is complete.
func (p *Probe) Record() Record {
	r := Record{IntervalMs: float64(p.interval.Microseconds()) / 1000}
	p.mu.Lock()
	r.Leftover = p.leftover
	p.mu.Unlock()
	for _, pp := range p.probes() {
		for _, s := range pp.series {
			r.Series = append(r.Series, s.record(pp.path))
		}
	}
	return r
}

func (s *series) record(path Path) SeriesRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := SeriesRecord{Path: path.Name, From: path.From, Kind: s.kind, Quiet: s.quiet.counts(), Run: s.run.counts()}
	if s.kind != Watch { // its gaps are told by watchGap
		r.Run.Gap = max(r.Run.Gap, s.gaps.open())
	}
	return r
}

func (s *stats) counts() Counts {
	return Counts{
		Requests: s.requests, Failures: s.failures, Reasons: maps.Clone(s.reasons), Failed: slices.Clone(s.failed), Skipped: s.skipped, Replays: s.replays, Retries: s.retries, Unjudged: s.unjudged,
		Connections: s.connections, Events: s.events, Missed: s.missed, Rewatches: s.restarts,
		Max: s.max, Gap: s.gap, Late: s.late, SamplesUs: slices.Clone(s.samples), Slots: slices.Clone(s.slots),
	}
}

// add puts the figures of the same series in another record to c.
func (c *Counts) add(o Counts) {
	c.Requests += o.Requests
	c.Failures += o.Failures
	c.Skipped += o.Skipped
	c.Replays += o.Replays
	c.Retries += o.Retries
	c.Unjudged += o.Unjudged
	c.Connections += o.Connections
	c.Events += o.Events
	c.Missed += o.Missed
	c.Rewatches += o.Rewatches
	c.Max, c.Gap, c.Late = max(c.Max, o.Max), max(c.Gap, o.Gap), max(c.Late, o.Late)
	c.SamplesUs = append(c.SamplesUs, o.SamplesUs...)
	c.Slots = addSlots(c.Slots, o.Slots...)
	c.Failed = append(c.Failed, o.Failed[:min(len(o.Failed), maxFailures-len(c.Failed))]...)
	for reason, n := range o.Reasons {
		if c.Reasons == nil {
			c.Reasons = map[string]int{}
		}
		c.Reasons[reason] += n
	}
}

// Results makes figures of records. Records of one series (same path, place
// and kind) are counted as one: percentiles are over all their samples, gaps
// are the longest of theirs. The time between two records is in none of them.
func Results(records ...Record) Result {
	r := Result{Paths: []PathResult{}}
	var merged []*SeriesRecord
	for _, rec := range records {
		if r.IntervalMs == 0 {
			r.IntervalMs = rec.IntervalMs
		}
		if rec.Leftover != "" {
			r.Leftover = rec.Leftover
		}
		for _, s := range rec.Series {
			merged = mergeSeries(merged, s)
		}
	}
	fresh := map[string][]int32{}
	for _, s := range merged {
		i := slices.IndexFunc(r.Paths, func(p PathResult) bool { return p.Name == s.Path })
		if i < 0 {
			i = len(r.Paths)
			r.Paths = append(r.Paths, PathResult{Name: s.Path})
		}
		if s.Kind == NewConnectionRead {
			fresh[s.Path] = append(fresh[s.Path], s.Run.SamplesUs...)
		}
		r.Paths[i].add(*s)
	}
	for i := range r.Paths {
		ps := percentiles(fresh[r.Paths[i].Name], 50, 99)
		r.Paths[i].P50Ms, r.Paths[i].P99Ms = ps[0], ps[1]
	}
	return r
}

func mergeSeries(list []*SeriesRecord, s SeriesRecord) []*SeriesRecord {
	for _, have := range list {
		if have.Path == s.Path && have.From == s.From && have.Kind == s.Kind {
			have.Quiet.add(s.Quiet)
			have.Run.add(s.Run)
			return list
		}
	}
	// The samples are copied: percentiles sorts them.
	made := SeriesRecord{Path: s.Path, From: s.From, Kind: s.Kind}
	made.Quiet.add(s.Quiet)
	made.Run.add(s.Run)
	return append(list, &made)
}
