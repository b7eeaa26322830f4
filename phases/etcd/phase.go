// Package etcd is phase 2: etcd moves from the first control-plane node to
// three hosts of its own, one member at a time, and never stops.
//
//	before:  (cp1)
//	then:    (cp1 e1) (cp1 e1 e2) (cp1 e1 e2 e3)    learner first, each
//	after:   (e1 e2 e3)
//
// The old member is neither restarted nor reconfigured on its host while it
// is needed: with one API server, that would be a minute without an API.
// What it lacks is added around it, a stored peer URL by a call and a
// listener by a relay.
package etcd

import (
	"time"

	"hamigrate/phases"
)

// Phase declares the steps in their order. Everything a host needs is
// prepared on all hosts before the first member is added, because two voters
// survive no failure: the shorter the way from two to three, the better.
func Phase(strategy phases.Strategy) phases.Phase {
	steps := []phases.Step{
		peerRelay(),
		peerURL(),
		user(),
		binary(),
		certificates(),
		unit(),
		addLearner(),
		startMember(),
		promote(),
		moveLeader(),
	}
	if strategy == phases.Overlap {
		steps = append(steps, restart().Before()...)
	}
	steps = append(steps, repointAPIServer(strategy))
	if strategy == phases.Overlap {
		steps = append(steps, restart().After(repointID)...)
	}
	return phases.Phase{
		Number: 2,
		Name:   "etcd",
		Title:  "Move etcd to hosts of its own",
		Why:    "The one etcd member is the cluster's only memory; three survive the loss of any one.",
		Steps: append(steps,
			kubeadmConfig(),
			removeMember(),
			retireManifest(),
			archiveData(),
			removeRelay(),
		),
		Guard:       phases.Guard,
		GuardSettle: 2 * time.Minute,
	}
}
