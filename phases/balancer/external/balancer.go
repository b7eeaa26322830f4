// Package external is a load balancer that somebody else configures. Nobody logs
// in there: what its owner has to do is asked for, and whether it is done is seen
// by new connections to the endpoint.
package external

import (
	"context"
	"errors"
	"fmt"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// Balancer is this kind.
func Balancer() balancer.Balancer {
	return balancer.Balancer{
		Kind:     cluster.LoadBalancerExternal,
		Machine:  "your own load balancer",
		Serves:   balancer.EndpointID,
		Check:    checkEndpoint,
		Verify:   balancer.VerifyEndpoint,
		Begun:    func(context.Context, phases.Reader) (bool, error) { return false, nil },
		Forwards: func(context.Context, phases.Reader) (balancer.Forwards, error) { return balancer.Forwards{}, nil },
		Backends: backends{},
		First:    first{},
		ByHand:   byHand,
	}
}

// HealthCheck is what an external load balancer is to ask an API server.
const HealthCheck = "TCP passed through, not ended; health check HTTPS GET /readyz on the same port, healthy with status 200"

// checkEndpoint is satisfied by the whole proof. Before the certificate has
// the endpoint's name, an answer of this cluster's API server is enough to go
// on with: the name comes with the step before.
func checkEndpoint(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	if err := balancer.LeadsToAPI(ctx, v); err != nil {
		first, addressErr := v.APIAddress(ctx, v.First().Name)
		if addressErr != nil {
			return migrate.Finding{}, addressErr
		}
		return phases.Block(fmt.Sprintf("let it forward to %s (%s)", first, HealthCheck),
			"%s does not lead to this cluster's API server: %v", v.EndpointAddress(), err), nil
	}
	var astray balancer.AstrayError
	if err := balancer.VerifyEndpoint(ctx, v); errors.As(err, &astray) {
		return phases.Block("let the endpoint mean the load balancer there: see EndpointName in `migrate preflight`", "%v", astray), nil
	} else if err != nil {
		return phases.Need(migrate.Before{}, "it leads to this cluster's API server, but not yet by its name: %v", err), nil
	}
	return phases.Done("%s leads to this cluster's API server from every node", v.EndpointAddress()), nil
}

func byHand(cluster.Spec) balancer.ByHand {
	curl := "curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # ok\n"
	return balancer.ByHand{
		Prove: "Let the load balancer pass TCP from {{.Endpoint}} through to {{.First.Address}}:6443, without ending TLS itself. " +
			"Its health check: HTTPS GET /readyz on the same port, healthy with status 200. Then, from every node:\n\n```\n" + curl + "```\n",
		Add: "```\ncurl -k https://{{.Address}}:6443/readyz    # 200 first\n```\n\n" +
			"Then let the load balancer pass connections to {{.Address}}:6443 as well, with the same health check.\n",
		WithoutFirst: "Let the load balancer pass no connections to {{.First.Address}}:6443, then:\n\n```\n" +
			"curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # from every node, {{.First.Name}} too: ok\n```\n\nPut it back.\n",
	}
}

// first can't take anything out: that is its owner's to do.
type first struct{}

func (first) Missing(context.Context, phases.Reader) ([]string, error) { return nil, nil }

func (first) PutBack(context.Context, phases.Writer) error { return nil }

func (first) Without(ctx context.Context, _ phases.Writer, try func(ctx context.Context, out bool) error) error {
	return try(ctx, false)
}
