// Package external is phase 2: etcd moves from the first control-plane node to
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
package external

import (
	"context"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// Phase declares the steps in their order, those of all strategies. Everything
// a host needs is prepared on all hosts before the first member is added,
// because two voters survive no failure: the shorter the way from two to three,
// the better.
func Phase() phases.Phase {
	return phases.Phase{
		Number: 2,
		Name:   "etcd",
		Title:  "Move etcd to hosts of its own",
		Why:    "The one etcd member is the cluster's only memory; three survive the loss of any one.",
		Facets: map[migrate.Facet][]string{
			phases.FacetStrategy: phases.Answers(phases.Overlap, phases.InPlace, phases.BackInPlace),
		},
		Steps: slices.Concat(
			[]phases.Step{
				peerRelay(),
				listen(),
				peerURL(overlapped(), peerRelayID),
				peerURL(phases.When(phases.InPlace), listenID),
				user(),
				binary(),
				certificates(),
				unit(),
				addLearner(),
				startMember(),
				promote(),
				moveLeader(),
			},
			when(overlapped(), restart().Before()...),
			[]phases.Step{
				repointOverlapped(),
				repointTakenBackInPlace(),
				repointInPlace(),
			},
			when(phases.When(phases.Overlap), restart().After(repointID)...),
			when(phases.When(phases.BackInPlace), withoutSecond(restart().After(repointID))...),
			[]phases.Step{
				kubeadmConfig(),
				removeMember(),
				retireManifest(),
				archiveData(),
				removeRelay(),
			},
		),
		Also:             []migrate.Selector{migrate.FirstControlPlane}, // it signs, and holds the pre-image store
		Invariants:       phases.CheckInvariants,
		InvariantsSettle: 2 * time.Minute,
	}
}

// overlapped is for a step of a restart with a second API server, whichever way
// back is taken.
func overlapped() migrate.When { return phases.When(phases.Overlap, phases.BackInPlace) }

// when are steps of another package, with what they depend on here.
func when(w migrate.When, steps ...phases.Step) []phases.Step {
	for i := range steps {
		steps[i].When = w
	}
	return steps
}

// withoutSecond are the steps after a restart, on a way back without a second
// API server: what it would need is not set up again.
func withoutSecond(after []phases.Step) []phases.Step {
	for i := range after {
		after[i].Check = func(context.Context, phases.Reader) (migrate.Finding, error) {
			return phases.Need(migrate.Before{}, "no second API server is set up for the rollback"), nil
		}
		after[i].Undo = func(context.Context, phases.Writer, migrate.Before) error { return nil }
	}
	return after
}
