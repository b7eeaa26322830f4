// Package balancers is the one place where a kind of load balancer is chosen.
package balancers

import (
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancer/external"
	"hamigrate/phases/balancer/haproxy"
	"hamigrate/phases/balancer/nginx"
)

// Of is the load balancer that a spec asks for. Without a kind it is the spec's
// default.
func Of(spec cluster.Spec) balancer.Balancer {
	switch spec.LoadBalancer.Kind {
	case cluster.LoadBalancerHAProxy:
		return haproxy.Balancer()
	case cluster.LoadBalancerExternal:
		return external.Balancer()
	default:
		return nginx.Balancer()
	}
}

// All are the kinds that there are, the default first.
func All() []balancer.Balancer {
	return []balancer.Balancer{nginx.Balancer(), haproxy.Balancer(), external.Balancer()}
}

// Facet is the facet of a step that only some kinds have. The answers are kinds.
const Facet migrate.Facet = "load-balancer"

// Choice is the kind that a spec asks for, as the answer to Facet.
func Choice(spec cluster.Spec) migrate.Choice { return migrate.Choice{Facet: Of(spec).Kind} }

// Kinds are all answers to Facet, the default first.
func Kinds() []string {
	var out []string
	for _, b := range All() {
		out = append(out, b.Kind)
	}
	return out
}

// When is for the steps of one kind. With a load balancer that somebody else
// configures, phase 1 has the default's steps, without a target: it had them before
// there was this facet, and a journal in use is continued only with the same steps.
func When(b balancer.Balancer) migrate.When {
	all := All()
	answers := []string{b.Kind}
	for _, other := range all {
		if b.Kind == all[0].Kind && !other.Configured() {
			answers = append(answers, other.Kind)
		}
	}
	return migrate.When{Facet: answers}
}
