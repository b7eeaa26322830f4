// Package loadbalancer is phase 1: a load balancer in front of the API, and
// every client that this tool knows of pointed to it. The old address goes on
// answering, so clients it does not know of notice nothing.
//
//	before:  kubelets, kube-proxy ─────────────────────► cp1:6443
//	after:   kubelets, kube-proxy ──► lb1:6443 (nginx) ─► cp1:6443
package loadbalancer

import (
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
)

// Phase declares the steps in their order: the certificate first, so that no
// client ever meets a name it does not hold; then the load balancer; then
// what says where the API is; then those who follow it.
func Phase() phases.Phase {
	return phases.Phase{
		Number: 1,
		Name:   "loadbalancer",
		Title:  "Put a load balancer in front of the API",
		Why:    "Clients that know one address of one machine stop when that machine does.",
		Steps: slices.Concat(
			[]phases.Step{servingCertificate()},
			steps(),
			[]phases.Step{
				endpointName(),
				kubeadmConfig(),
				clusterInfo(),
				kubeProxy(),
				adminConf(),
				kubelet(),
			},
		),
		Facets:           map[migrate.Facet][]string{balancers.Facet: balancers.Kinds()},
		Also:             []migrate.Selector{migrate.FirstControlPlane}, // the pre-image store, and copies of what it changes
		Invariants:       phases.CheckInvariants,
		InvariantsSettle: 2 * time.Minute,
	}
}
