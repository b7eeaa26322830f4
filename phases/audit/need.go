package audit

import (
	"context"
	"fmt"
)

// Need is an honest word on whether high availability is worth its price here.
type Need struct {
	// Advice is "may not be needed" or "likely worth it".
	Advice  string   `json:"advice"`
	Reasons []string `json:"reasons"`
}

// The two advices.
const (
	NotNeeded = "may not be needed"
	WorthIt   = "likely worth it"
)

// smallCluster is the number of workers up to which a control plane that is
// away for an hour is usually borne.
const smallCluster = 3

// need weighs what can be seen. What an hour without the API costs cannot be
// seen, and is said to be the question.
func (s *scene) need(ctx context.Context) (Need, error) {
	leases, err := s.kube.LeaderLeases(ctx)
	if err != nil {
		return Need{}, err
	}
	n := Need{Advice: WorthIt, Reasons: []string{
		"Without the control plane everything that runs goes on running: pods, and Services between them. The cluster is read-only, not down. What stops is change: deploying, scaling, healing, jobs, and programs that need the API to work.",
	}}
	workers := fmt.Sprintf("There are %d workers", len(s.workers))
	programs := fmt.Sprintf("%d programs outside of kube-system hold a Lease: they write to the API every few seconds, and stop working within seconds without it.", leases)
	if leases == 0 {
		programs = "No program outside of kube-system holds a Lease: none that can be seen needs the API every few seconds."
	}
	if len(s.workers) <= smallCluster && leases == 0 {
		n.Advice = NotNeeded
		n.Reasons = append(n.Reasons, workers+". A cluster of this size, for CI or for a team, often bears an hour without the API well.", programs,
			"High availability is three more etcd hosts, two more control-plane nodes and a load balancer to run, patch and understand. One control-plane node with a backup that was restored once, to try, may be the better bargain.")
	} else {
		n.Reasons = append(n.Reasons, workers+".", programs,
			"The price is three more etcd hosts, two more control-plane nodes and a load balancer to run, patch and understand.")
	}
	n.Reasons = append(n.Reasons, "The question that decides is not in the cluster: what does an hour without the API cost you, and how long does it take you to replace that one machine?")
	return n, nil
}
