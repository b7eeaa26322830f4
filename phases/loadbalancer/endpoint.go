package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

const endpointID = "loadbalancer/endpoint"

// endpoint stands where the steps for nginx stand when somebody else has the
// load balancer: nothing is configured, and nobody is moved before it is
// proven.
func endpoint() phases.Step {
	return phases.Step{
		ID:    endpointID,
		Title: "Prove that the external load balancer leads to the API server",
		Why:   "It is configured by somebody else; what it does not do would be found out by every client at once.",
		On:    migrate.ExternalLoadBalancer,
		Needs: []migrate.StepID{servingCertificateID},
		ByHand: "Let the load balancer pass TCP from {{.Endpoint}} through to {{.First.Address}}:6443, without ending TLS itself. " +
			"Its health check: HTTPS GET /readyz on the same port, healthy with status 200. Then, from every node:\n\n" +
			"```\ncurl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # ok\n```\n",
		Check:  checkEndpoint,
		Apply:  func(context.Context, phases.Hands, migrate.Before) error { return nil },
		Verify: VerifyEndpoint,
		OneWay: "it changes nothing",
		Settle: 30 * time.Second, WaitsFor: "the load balancer",
	}
}

// External says whether somebody else has the load balancer.
func External(v phases.View) bool {
	return v.Spec().LoadBalancer.Kind == cluster.LoadBalancerExternal
}

// HealthCheck is what an external load balancer is to ask an API server.
const HealthCheck = "TCP passed through, not ended; health check HTTPS GET /readyz on the same port, healthy with status 200"

// checkEndpoint is satisfied by the whole proof. Before the certificate has
// the endpoint's name, an answer of this cluster's API server is enough to go
// on with: the name comes with the step before.
func checkEndpoint(ctx context.Context, v phases.View) (migrate.Finding, error) {
	if err := LeadsToAPI(ctx, v); err != nil {
		first, addressErr := v.APIAddress(ctx, v.First().Name)
		if addressErr != nil {
			return migrate.Finding{}, addressErr
		}
		return phases.Block(fmt.Sprintf("let it forward to %s (%s)", first, HealthCheck),
			"%s does not lead to this cluster's API server: %v", v.EndpointAddress(), err), nil
	}
	var astray astrayError
	if err := VerifyEndpoint(ctx, v); errors.As(err, &astray) {
		return phases.Block("let the endpoint mean the load balancer there: see EndpointName in `migrate preflight`", "%v", astray), nil
	} else if err != nil {
		return phases.Need(migrate.Before{}, "it leads to this cluster's API server, but not yet by its name: %v", err), nil
	}
	return phases.Done("%s leads to this cluster's API server from every node", v.EndpointAddress()), nil
}
