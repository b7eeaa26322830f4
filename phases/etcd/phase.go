// Package etcd is phase 2: etcd moves from the first control-plane node to
// three hosts of its own, one member at a time, and never stops.
//
//	before:  (cp1)
//	then:    (cp1 e1) (cp1 e1 e2) (cp1 e1 e2 e3)    learner first, each
//	after:   (e1 e2 e3)
//
// With the overlap strategy the old member is neither restarted nor
// reconfigured on its host while it is needed: with one API server, that would
// be a minute without an API. What it lacks is added around it, a stored peer
// URL by a call and a listener by a relay. In place, it is restarted.
package etcd

import (
	"context"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// Phase declares the steps in their order. Everything a host needs is
// prepared on all hosts before the first member is added, because two voters
// survive no failure: the shorter the way from two to three, the better.
func Phase(strategy phases.Strategy) phases.Phase {
	both := func(steps ...phases.Step) []phases.Step { return steps }
	only := func(s phases.Strategy, steps ...phases.Step) []phases.Step {
		if s != strategy {
			return nil
		}
		return steps
	}
	return phases.Phase{
		Number: 2,
		Name:   "etcd",
		Title:  "Move etcd to hosts of its own",
		Why:    "The one etcd member is the cluster's only memory; three survive the loss of any one.",
		Steps: slices.Concat(
			only(phases.Overlap, peerRelay()),
			only(phases.InPlace, listen()),
			both(
				peerURL(strategy),
				user(),
				binary(),
				certificates(),
				unit(),
				addLearner(),
				startMember(),
				promote(),
				moveLeader(),
			),
			only(phases.Overlap, restart().Before()...),
			both(repointAPIServer(strategy)),
			only(phases.Overlap, restart().After(repointID)...),
			both(
				kubeadmConfig(),
				removeMember(),
				retireManifest(),
				archiveData(),
			),
			only(phases.Overlap, removeRelay()),
		),
		Also:        []migrate.Selector{migrate.FirstControlPlane}, // it signs, and holds the trail
		Guard:       phases.Guard,
		GuardSettle: 2 * time.Minute,
	}
}

// TakenBackInPlace is the phase as Overlap declares it, for a rollback without
// a second API server, where none fits on the node any more: the real one is
// restarted alone, and what the second one would need is not set up again.
func TakenBackInPlace() phases.Phase {
	p, alone, setUp := Phase(phases.Overlap), repointInPlace(), restart().After(repointID)
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.ID == repointID:
			s.Undo, s.Outage = alone.Undo, alone.Outage
		case slices.ContainsFunc(setUp, func(other phases.Step) bool { return other.ID == s.ID }):
			s.Check = func(context.Context, phases.View) (migrate.Finding, error) {
				return phases.Need(migrate.Before{}, "no second API server is set up for the way back"), nil
			}
			s.Undo = func(context.Context, phases.Hands, migrate.Before) error { return nil }
		}
	}
	return p
}
