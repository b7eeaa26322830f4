package main

import (
	"context"
	"slices"

	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

// preflightResult is one check that would keep a run from a phase, as in
// `migrate preflight -o json`.
type preflightResult = preflight.Result

// planAndPreflight is makePlan with what preflight, side by side with it, finds
// to keep a run from a phase: neither is green where the other is not.
func planAndPreflight(c *cli.Context, s *session, list []phases.Phase, j *state.Journal) (plans []phasePlan, err error) {
	var report preflight.Report
	err = phases.SideBySide(
		func() (err error) { plans, err = makePlan(c.Context, s, list, j); return err },
		func() (err error) {
			report, err = preflight.Run(c.Context, s.world, preflight.Options{Phase: c.Int("phase"), LookOnly: true,
				Ignore: c.StringSlice("ignore-preflight"), InPlace: strategyOf(c) == phases.InPlace})
			return err
		})
	if err != nil {
		return nil, err
	}
	limit := c.StringSlice("limit")
	for i := range plans {
		p := &plans[i]
		under, _, err := underWay(j, list[i])
		if err != nil {
			return nil, err
		}
		if under || pending(plans[i:i+1]) == 0 {
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
func planBlocked(ctx context.Context, s *session, list []phases.Phase, plans []phasePlan, j *state.Journal) error {
	for i, p := range plans {
		if blocked := blockedIn(p.Entries); blocked != nil {
			return withWayOut(ctx, s, j, list[i], blocked)
		}
	}
	for _, p := range plans {
		if err := refuse(p.Phase, p.Preflight); err != nil {
			return err
		}
	}
	return nil
}
