package probe

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is the "probe" object of a report. Figures of the quiet measurement
// are in the fields that say so and in no other.
type Result struct {
	IntervalMs float64      `json:"intervalMs"` // between two requests of a path and kind
	Paths      []PathResult `json:"paths"`
	// Leftover says why the probe's namespace was not deleted; empty: it was.
	Leftover string `json:"leftover,omitempty"`
}

// PathResult is one path with its totals: the sums over its kinds.
type PathResult struct {
	Name     string `json:"name"`
	Requests int    `json:"requests"`
	Failures int    `json:"failures"`
	// LongestGapSeconds is the longest of its kinds but for the watch, P50Ms
	// and P99Ms are those of the new connection reads.
	LongestGapSeconds float64      `json:"longestGapSeconds"`
	P50Ms             float64      `json:"p50Ms"`
	P99Ms             float64      `json:"p99Ms"`
	Kinds             []KindResult `json:"kinds"`
	// Slots are all its requests over time, QuietSlots those of the quiet
	// measurement. They are for charts and no part of the JSON.
	Slots      []Slot `json:"-"`
	QuietSlots []Slot `json:"-"`
}

// KindResult is one kind of request through one path from one place.
// Latencies are those of requests that succeeded; percentiles are exact
// (nearest rank). For the watch a latency is the time from sending a write to
// the arrival of its event, and requests are the events of acknowledged
// writes and the list and watch requests made.
type KindResult struct {
	Kind     Kind           `json:"kind"`
	From     string         `json:"from"`
	Requests int            `json:"requests"`
	Failures int            `json:"failures"`
	Reasons  map[string]int `json:"reasons"` // failures by reason
	// Failed are the first failures one by one, at most 20.
	Failed []Failure `json:"failed,omitempty"`
	P50Ms  float64   `json:"p50Ms"`
	P99Ms  float64   `json:"p99Ms"`
	MaxMs  float64   `json:"maxMs"`
	// QuietP99Ms is null where nothing was measured in quiet: Quiet was not
	// called, or the path was added after it.
	QuietP99Ms *float64 `json:"quietP99Ms"`
	// LongestGapSeconds: the time from sending the last request that
	// succeeded before a run of failures to sending the first one that
	// succeeded after it, minus one interval. For the watch: the longest time
	// between two watches.
	LongestGapSeconds float64 `json:"longestGapSeconds"`

	QuietRequests int      `json:"quietRequests"`
	QuietFailures int      `json:"quietFailures"`
	QuietP50Ms    *float64 `json:"quietP50Ms"`
	// Skipped requests were due while this process itself did not run.
	Skipped int `json:"skipped"`
	// Unjudged requests were sent and had no answer in time, while this process
	// itself did not run for more than half of that time: they are neither
	// among the requests nor among the failures. Only lateness is ever left out
	// so; an answer that is an error, or no connection, counts at all times.
	Unjudged int `json:"unjudged"`
	// MaxLateMs is how long after it was due a request was sent, at most:
	// much more than a few milliseconds means that the measuring machine was
	// overloaded, and that part of the latencies and failures is its own.
	MaxLateMs float64 `json:"maxLateMs"`
	// Connections opened: 0 where a kept connection from the quiet
	// measurement lived through all. Replays are requests that Go's HTTP
	// transport sent again because a kept connection closed before the
	// server took them.
	Connections int `json:"connections"`
	Replays     int `json:"replays"`
	// Retries: an API server that stops answers a request on a kept
	// connection with 503 and Retry-After until its GOAWAY has arrived, and
	// client-go makes it again (apiserver: pkg/server/filters/waitgroup.go;
	// client-go: rest/with_retry.go). Such a request has not failed when it
	// succeeds within the same time limit; it is counted here.
	Retries int `json:"retries"`
	// Of the watch: events owed, of these the ones that never arrived (they
	// are failures), and watches started again.
	Events       *int `json:"events,omitempty"`
	MissedEvents *int `json:"missedEvents,omitempty"`
	Rewatches    *int `json:"rewatches,omitempty"`
}

// Requests is the number of requests and of events owed, over all paths.
func (r Result) Requests() int {
	return r.sum(func(k KindResult) int { return k.Requests })
}

// Failures is the number of failed requests and missed events.
func (r Result) Failures() int {
	return r.sum(func(k KindResult) int { return k.Failures })
}

// MissedEvents is the number of events that never arrived.
func (r Result) MissedEvents() int {
	return r.sum(func(k KindResult) int {
		if k.MissedEvents == nil {
			return 0
		}
		return *k.MissedEvents
	})
}

// Skipped is the number of requests that were due and not sent because this
// process did not run.
func (r Result) Skipped() int {
	return r.sum(func(k KindResult) int { return k.Skipped })
}

// Unjudged is the number of requests about which nothing can be said, because
// the process that asked did not run.
func (r Result) Unjudged() int {
	return r.sum(func(k KindResult) int { return k.Unjudged })
}

// Retries is the number of times that client-go made a request again because
// the API server's answer told it to.
func (r Result) Retries() int {
	return r.sum(func(k KindResult) int { return k.Retries })
}

// Notes are sentences on what is no failure and must not be hidden; none where
// there is nothing of the kind.
func (r Result) Notes() []string {
	var notes []string
	if n := r.Retries(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d answers were 'try again in a second' (an API server that stops, on a kept connection); client-go did, as it does for every program.", n))
	}
	if skipped, unjudged := r.Skipped(), r.Unjudged(); skipped+unjudged > 0 {
		notes = append(notes, fmt.Sprintf("%d requests more were not sent, and of %d no answer was taken in time, while the host that asks had no processor left for that: they are not counted.", skipped, unjudged))
	}
	return notes
}

// LongestGap is the longest gap of any path, watches left aside.
func (r Result) LongestGap() time.Duration {
	var longest float64
	for _, p := range r.Paths {
		longest = max(longest, p.LongestGapSeconds)
	}
	return time.Duration(longest * float64(time.Second))
}

func (r Result) sum(of func(KindResult) int) int {
	total := 0
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			total += of(k)
		}
	}
	return total
}

func (pr *PathResult) add(s SeriesRecord) {
	k := s.result()
	pr.Requests += k.Requests
	pr.Failures += k.Failures
	if s.Kind != Watch {
		pr.LongestGapSeconds = max(pr.LongestGapSeconds, k.LongestGapSeconds)
	}
	pr.Kinds = append(pr.Kinds, k)
	pr.Slots = addSlots(pr.Slots, s.Run.Slots...)
	pr.QuietSlots = addSlots(pr.QuietSlots, s.Quiet.Slots...)
}

func (s SeriesRecord) result() KindResult {
	run := percentiles(s.Run.SamplesUs, 50, 99)
	k := KindResult{
		Kind: s.Kind, From: s.From,
		Requests: s.Run.Requests, Failures: s.Run.Failures, Reasons: s.Run.Reasons, Failed: slices.Clone(s.Run.Failed),
		P50Ms: run[0], P99Ms: run[1], MaxMs: float64(s.Run.Max.Microseconds()) / 1000,
		LongestGapSeconds: roundedSeconds(s.Run.Gap),
		QuietRequests:     s.Quiet.Requests, QuietFailures: s.Quiet.Failures,
		Skipped: s.Run.Skipped, MaxLateMs: float64(s.Run.Late.Microseconds()) / 1000, Connections: s.Run.Connections, Replays: s.Run.Replays, Retries: s.Run.Retries,
		Unjudged: s.Run.Unjudged,
	}
	if k.Reasons == nil {
		k.Reasons = map[string]int{}
	}
	if len(s.Quiet.SamplesUs) > 0 {
		quiet := percentiles(s.Quiet.SamplesUs, 50, 99)
		k.QuietP50Ms, k.QuietP99Ms = &quiet[0], &quiet[1]
	}
	if s.Kind == Watch {
		k.Events, k.MissedEvents, k.Rewatches = &s.Run.Events, &s.Run.Missed, &s.Run.Rewatches
	}
	return k
}

// roundedSeconds is a duration in seconds, to the millisecond.
func roundedSeconds(d time.Duration) float64 {
	return math.Round(d.Seconds()*1000) / 1000
}
