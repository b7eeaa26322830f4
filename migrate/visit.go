package migrate

import (
	"context"
	"fmt"
)

// ClusterTarget is the one target of the selector Once, and the target whose
// view the invariants get.
const ClusterTarget = "cluster"

// visit is one step on one target. A phase is a list of visits.
type visit[V, H any] struct {
	Step[V, H]
	target string
	// group numbers the runs of Rolling steps with one selector: within a
	// group the order is target-major. A step that does not roll is a group
	// of its own.
	group int
}

// visits expands a phase, asking for each selector's targets once:
//
//	steps   a(once)  b(etcd, rolling)  c(etcd, rolling)  d(etcd)
//	visits  a@cluster  b@e1 c@e1  b@e2 c@e2  d@e1 d@e2
func visits[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H]) ([]visit[V, H], error) {
	if err := unanswered(p); err != nil {
		return nil, err
	}
	targets := map[Selector][]string{}
	var all []visit[V, H]
	for first := 0; first < len(p.Steps); {
		on := p.Steps[first].On
		if _, known := targets[on]; !known {
			names, err := targetsOf(ctx, env, on)
			if err != nil {
				return nil, err
			}
			targets[on] = names
		}
		end := groupEnd(p.Steps, first)
		for _, target := range targets[on] {
			for _, s := range p.Steps[first:end] {
				all = append(all, visit[V, H]{Step: s, target: target, group: first})
			}
		}
		first = end
	}
	return all, nil
}

// groupEnd returns the index after the last step of the group that begins at
// first.
func groupEnd[V, H any](steps []Step[V, H], first int) int {
	end := first + 1
	for steps[first].Rolling && end < len(steps) && steps[end].Rolling && steps[end].On == steps[first].On {
		end++
	}
	return end
}

func targetsOf[V, H any](ctx context.Context, env Env[V, H], on Selector) ([]string, error) {
	names, err := env.Targets(ctx, on)
	if err != nil {
		return nil, fmt.Errorf("listing the %s: %w", on, err)
	}
	seen := map[string]bool{}
	for _, n := range names {
		if n == "" || seen[n] {
			return nil, fmt.Errorf("listing the %s: the name %q is empty or there twice", on, n)
		}
		seen[n] = true
	}
	return names, nil
}

// unmet returns the needs of v that are not done, in the order declared. A
// need within v's own rolling group is about v's target only: the other
// targets have their turn later.
func (v visit[V, H]) unmet(all []visit[V, H], done func(StepID, string) bool) []StepID {
	var missing []StepID
	for _, need := range v.Needs {
		for _, other := range all {
			concerns := other.ID == need && (other.group != v.group || other.target == v.target)
			if concerns && !done(need, other.target) {
				missing = append(missing, need)
				break
			}
		}
	}
	return missing
}
