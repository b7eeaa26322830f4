// Package controlplane is phase 3: two more control-plane nodes join, one at
// a time, and the load balancer gets each when it is ready.
//
//	before:  lb1 ─► cp1            ─► e1 e2 e3
//	after:   lb1 ─► cp1, cp2, cp3  ─► e1 e2 e3
package controlplane

import (
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// Phase declares the steps in their order. Joins are serial: parallel ones
// lose each other's locks (labring/sealos#608), and a joined node that is
// not ready must not get traffic.
func Phase() phases.Phase {
	return phases.Phase{
		Number: 3,
		Name:   "controlplane",
		Title:  "Join two more control-plane nodes",
		Why:    "From here on any one machine may stop and the API goes on answering.",
		Steps: []phases.Step{
			kubeadmConfig(),
			hostFiles(),
			join(),
			backend(),
			coreDNS(),
			withoutFirst(),
		},
		// The first node has the keys and the pre-image store; the load balancers get the new
		// backends; on the way back all nodes forget connections to who leaves.
		Also:             []migrate.Selector{migrate.FirstControlPlane, migrate.LoadBalancers, migrate.Workers},
		Invariants:       phases.CheckInvariants,
		InvariantsSettle: 2 * time.Minute,
	}
}
