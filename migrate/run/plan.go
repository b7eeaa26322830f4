package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/state"
)

// PhasePlan is one phase of a plan in JSON and YAML.
type PhasePlan struct {
	Phase   int             `json:"phase"`
	Name    string          `json:"name"`
	Title   string          `json:"title"`
	Entries []migrate.Entry `json:"steps"`
	// Preflight are the checks of `migrate preflight` that look and that would
	// keep a run from beginning this phase.
	Preflight []preflightResult `json:"preflight,omitempty"`
}

// preflightResult is one check that would keep a run from a phase, as in
// `migrate preflight -o json`.
type preflightResult = preflight.Result

// MakePlan checks each step of phases on each of its targets. Nothing is changed.
func MakePlan(ctx context.Context, s *Session, list []phases.Phase, j *state.Journal) ([]PhasePlan, error) {
	if err := phases.CheckSpec(ctx, s.Access.Reader(migrate.ClusterTarget)); err != nil {
		return nil, err
	}
	var plans []PhasePlan
	for _, p := range list {
		entries, err := migrate.Plan(ctx, s.Access, p, j)
		if err != nil {
			return nil, err
		}
		plans = append(plans, PhasePlan{Phase: p.Number, Name: p.Name, Title: p.Title, Entries: entries})
	}
	return plans, nil
}

// planAndPreflight is makePlan with what preflight, side by side with it, finds
// to keep a run from a phase: neither is green where the other is not.
func planAndPreflight(ctx context.Context, s *Session, o Options, limit []string, j *state.Journal) (plans []PhasePlan, err error) {
	list := o.List(s.Spec)
	var report preflight.Report
	err = parallel.Do(
		func() (err error) { plans, err = MakePlan(ctx, s, list, j); return err },
		func() (err error) {
			report, err = preflight.Run(ctx, s.Access, preflight.Options{Phase: o.Phase, LookOnly: true,
				Ignore: o.Ignore, InPlace: o.Strategy == phases.InPlace})
			return err
		})
	if err != nil {
		return nil, err
	}
	for i := range plans {
		p := &plans[i]
		under, _, err := underWay(j, list[i])
		if err != nil {
			return nil, err
		}
		if under || Pending(plans[i:i+1]) == 0 {
			continue // a run does not ask either
		}
		for _, r := range report.Blocking() {
			if slices.Contains(r.Phases, p.Phase) && (len(limit) == 0 || slices.Contains(limit, r.Host)) {
				p.Preflight = append(p.Preflight, r)
			}
		}
	}
	return plans, nil
}

// planBlocked is what would keep a run from the first phase that it may not
// begin: a step, or else a check of preflight.
func planBlocked(ctx context.Context, s *Session, list []phases.Phase, plans []PhasePlan, j *state.Journal) error {
	for i, p := range plans {
		if blocked := blockedIn(p.Entries); blocked != nil {
			return withWayOut(ctx, s, j, list[i], blocked)
		}
	}
	for _, p := range plans {
		if err := Refuse(p.Phase, p.Preflight); err != nil {
			return err
		}
	}
	return nil
}

// LimitTo leaves the steps on some hosts; with no hosts, all.
func LimitTo(plans []PhasePlan, hosts []string) ([]PhasePlan, error) {
	if len(hosts) == 0 {
		return plans, nil
	}
	var known []string
	out := make([]PhasePlan, len(plans))
	for i, p := range plans {
		out[i] = p
		out[i].Entries = []migrate.Entry{}
		for _, e := range p.Entries {
			if !slices.Contains(known, e.Target) {
				known = append(known, e.Target)
			}
			if slices.Contains(hosts, e.Target) {
				out[i].Entries = append(out[i].Entries, e)
			}
		}
	}
	for _, h := range hosts {
		if !slices.Contains(known, h) {
			return nil, fmt.Errorf("--limit %s: no step is on it; there are steps on %s", h, strings.Join(known, ", "))
		}
	}
	return out, nil
}

// Expect writes how long each step took when it was rehearsed.
func Expect(plans []PhasePlan, known func(migrate.StepID) time.Duration) {
	for _, p := range plans {
		for i := range p.Entries {
			if p.Entries[i].Finding.Verdict != migrate.Satisfied {
				p.Entries[i].ExpectedSeconds = known(p.Entries[i].Step).Seconds()
			}
		}
	}
}

// Pending counts the steps that are still to be done, each once for each of its targets.
func Pending(plans []PhasePlan) int {
	n := 0
	for _, p := range plans {
		for _, e := range p.Entries {
			if e.Finding.Verdict != migrate.Satisfied {
				n++
			}
		}
	}
	return n
}

// BackStatus is the way back for --detailed-exitcode: pending, blocked as the
// rollback would be, or nil where nothing is to be undone.
func BackStatus(list []migrate.RollbackEntry) error {
	for _, e := range list {
		if e.Blocked != "" {
			return &migrate.BlockedError{Where: migrate.Where{Phase: e.Phase, Step: e.Step, Target: e.Target}, Reason: e.Blocked, Remedy: "nothing was changed"}
		}
	}
	if migrate.Standing(list) {
		return ErrChangesPending
	}
	return nil
}

// PlanOptions say what of a plan is looked at.
type PlanOptions struct {
	Options
	Limit    []string                           // hosts, of which alone steps are kept; none: all
	Expected func(migrate.StepID) time.Duration // how long a step took in a rehearsal; 0: not known
}

// planned is what a run would do.
type planned struct {
	Plans      []PhasePlan
	Whole      []PhasePlan // with the steps on all hosts
	Cluster    string      // its identity
	Kubernetes string      // its version
	Blocked    error       // what keeps a run from its first phase; nil: nothing
}

// Plan looks at the cluster and says what a run with these options would do. Nothing is
// changed.
func Plan(ctx context.Context, s *Session, o PlanOptions) (p planned, err error) {
	j, err := s.ReadJournal()
	if err != nil {
		return p, err
	}
	defer j.Close()
	if p.Whole, err = planAndPreflight(ctx, s, o.Options, o.Limit, j); err != nil {
		return p, err
	}
	if p.Plans, err = LimitTo(p.Whole, o.Limit); err != nil {
		return p, err
	}
	if p.Cluster, p.Kubernetes, err = identity(ctx, s); err != nil {
		return p, err
	}
	Expect(p.Plans, o.Expected)
	p.Blocked = planBlocked(ctx, s, o.List(s.Spec), p.Plans, j)
	return p, nil
}
