package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"hamigrate/state"
)

// Entry is one row of a plan: a step on a target with what its check saw. Its
// JSON is a contract; YAML is to be made from the JSON.
type Entry struct {
	Phase   int           `json:"phase"`
	Step    StepID        `json:"step"`
	Title   string        `json:"title"`
	Why     string        `json:"why"`
	Target  string        `json:"target"`
	Finding Finding       `json:"finding"`
	Outage  time.Duration `json:"-"`    // expected; "outageSeconds" in JSON
	Undo    string        `json:"undo"` // "undo", or "one-way: " and why
	// Recorded is how far the journal says the step got.
	Recorded state.Status `json:"recorded"`
	// WaitsFor lists the needed steps that are still to be done. Until then
	// the finding may be about a world that is not ready for this step.
	WaitsFor []StepID `json:"waitsFor,omitempty"`
	// ExpectedSeconds is how long the step took when it was rehearsed, 0 where
	// that is not known. Plan leaves it 0: the engine knows no rehearsal.
	ExpectedSeconds float64 `json:"expectedSeconds,omitempty"`
}

// MarshalJSON writes the outage as seconds.
func (e Entry) MarshalJSON() ([]byte, error) {
	type plain Entry
	return json.Marshal(struct {
		plain
		Outage float64 `json:"outageSeconds"`
	}{plain(e), e.Outage.Seconds()})
}

// planJournal is what Plan reads of the journal.
type planJournal interface {
	Records(phase int) ([]state.Record, error)
}

// Plan checks every step of a phase on every target and changes nothing. The
// entries are in the order in which a run takes the steps. A check that fails
// is a *StepError, returned with the entries before it. The targets are
// looked at side by side, each by one check after the other.
func Plan[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H], j planJournal) ([]Entry, error) {
	if err := Validate(p); err != nil {
		return nil, err
	}
	all, err := visits(ctx, env, p)
	if err != nil {
		return nil, err
	}
	recorded, err := recordsOf(j, p.Number)
	if err != nil {
		return nil, err
	}
	found := checkAll(ctx, env, all)
	satisfied := map[state.Key]bool{}
	done := func(step StepID, target string) bool { return satisfied[keyOf(p.Number, step, target)] }
	entries := make([]Entry, 0, len(all))
	for i, v := range all {
		if err := found[i].err; err != nil {
			return entries, &StepError{Where: Where{p.Number, v.ID, v.target}, Op: OpCheck, Err: err}
		}
		key := keyOf(p.Number, v.ID, v.target)
		satisfied[key] = found[i].Verdict == Satisfied
		undo := "undo"
		if v.OneWay != "" {
			undo = "one-way: " + v.OneWay
		}
		entries = append(entries, Entry{
			Phase: p.Number, Step: v.ID, Title: v.Title, Why: v.Why, Target: v.target,
			Finding: found[i].Finding, Outage: v.Outage, Undo: undo,
			Recorded: recorded.status(key), WaitsFor: v.unmet(all, done),
		})
	}
	return entries, nil
}

// looked is what one check of many found.
type looked struct {
	Finding
	err error
}

// checkAll calls the checks of all visits, those of one target up to one that
// fails: nothing after it is told.
func checkAll[V, H any](ctx context.Context, env Env[V, H], all []visit[V, H]) []looked {
	found := make([]looked, len(all))
	byTarget(len(all), func(i int) string { return all[i].target }, func(i int) bool {
		found[i].Finding, found[i].err = all[i].check(ctx, env)
		return found[i].err == nil
	})
	return found
}

// check calls the step's Check and refuses a finding without a verdict.
func (v visit[V, H]) check(ctx context.Context, env Env[V, H]) (Finding, error) {
	finding, err := v.Check(ctx, env.Reader(v.target))
	if err != nil {
		return Finding{}, err
	}
	switch finding.Verdict {
	case Satisfied, Needed, Blocked:
		return finding, nil
	default:
		return Finding{}, fmt.Errorf("the check returned the verdict %q, which does not exist", finding.Verdict)
	}
}

// records are the journal's records of one phase, by key.
type records map[state.Key]state.Record

func recordsOf(j planJournal, phase int) (records, error) {
	list, err := j.Records(phase)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	recs := records{}
	for _, r := range list {
		recs[r.Key] = r
	}
	return recs, nil
}

func (r records) status(k state.Key) state.Status {
	if rec, ok := r[k]; ok {
		return rec.Status
	}
	return state.Pending
}

func keyOf(phase int, step StepID, target string) state.Key {
	return state.Key{Phase: phase, Step: string(step), Target: target}
}
