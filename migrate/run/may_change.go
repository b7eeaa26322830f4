package run

import (
	"context"
	"errors"
	"slices"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/state"
)

// MayChange refuses, before anything is changed, where a login may only look: to
// the first control-plane node, which every change goes to, and to the hosts
// named.
func MayChange(ctx context.Context, s *Session, names []string) error {
	names = append(slices.Clone(names), s.Spec.ControlPlane.First.Name)
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == migrate.ClusterTarget })
	found := make([]*remote.LooksOnlyError, len(names))
	_ = parallel.Each(names, func(i int, name string) error {
		errors.As(s.Access.MayChange(ctx, name), &found[i]) // one that is not reached is told of by others
		return nil
	})
	var all []error
	for _, e := range found {
		if e != nil {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil
	}
	joined := errors.Join(all...)
	return show.Errorf(joined, "%v", joined)
}

// toBeDone lists the hosts that a run of phases may change: those of steps that by
// the journal are not done, and what the phases of these change besides. Others may
// be off, and need not be waited for.
func toBeDone(ctx context.Context, s *Session, j *state.Journal, list []phases.Phase) ([]string, error) {
	var out []string
	for _, p := range list {
		known, err := j.Phase(p.Number)
		if err != nil {
			return nil, err
		}
		if !known.Completed.IsZero() {
			continue
		}
		records, err := j.Records(p.Number)
		if err != nil {
			return nil, err
		}
		done := map[state.Key]bool{}
		for _, r := range records {
			done[r.Key] = r.Status == state.Verified || r.Status == state.Satisfied
		}
		before := len(out)
		for _, step := range p.Steps {
			targets, err := s.Access.Targets(ctx, step.On)
			if err != nil {
				return nil, err
			}
			for _, t := range targets {
				if !done[state.Key{Phase: p.Number, Step: string(step.ID), Target: t}] {
					out = append(out, t)
				}
			}
		}
		if len(out) == before {
			continue
		}
		if out, err = appendTargets(ctx, s, out, p.Also); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// toBeTakenBack lists the hosts that the way back of phases may change: those of
// what the journal says was done, and what the phases change besides.
func toBeTakenBack(ctx context.Context, s *Session, j *state.Journal, list []phases.Phase) ([]string, error) {
	var out []string
	for _, p := range list {
		entries, err := migrate.RollbackPlan(ctx, s.Access, p, j)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Stays == "" {
				out = append(out, e.Target)
			}
		}
		if out, err = appendTargets(ctx, s, out, p.Also); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// toBeRenewed lists the hosts of steps that have something to do.
func toBeRenewed(entries []migrate.Entry) []string {
	var out []string
	for _, e := range entries {
		if unsatisfied(e) {
			out = append(out, e.Target)
		}
	}
	return out
}

// toBeRestored lists all hosts that a restore changes.
func toBeRestored(ctx context.Context, s *Session, p phases.Phase) ([]string, error) {
	return appendTargets(ctx, s, nil, phases.Changed([]phases.Phase{p}))
}

// appendTargets appends the hosts that selectors name.
func appendTargets(ctx context.Context, s *Session, out []string, selectors []migrate.Selector) ([]string, error) {
	for _, selector := range selectors {
		targets, err := s.Access.Targets(ctx, selector)
		if err != nil {
			return nil, err
		}
		out = append(out, targets...)
	}
	return out, nil
}
