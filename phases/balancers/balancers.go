// Package balancers is the one place where a kind of load balancer is chosen.
package balancers

import (
	"hamigrate/migrate/cluster"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancer/external"
	"hamigrate/phases/balancer/nginx"
)

// Of is the load balancer that a spec asks for. Without a kind it is the spec's
// default.
func Of(spec cluster.Spec) balancer.Balancer {
	switch spec.LoadBalancer.Kind {
	case cluster.LoadBalancerExternal:
		return external.Balancer()
	default:
		return nginx.Balancer()
	}
}

// All are the kinds that there are, the default first.
func All() []balancer.Balancer {
	return []balancer.Balancer{nginx.Balancer(), external.Balancer()}
}
