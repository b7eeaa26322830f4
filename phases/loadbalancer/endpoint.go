package loadbalancer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
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

// LeadsToAPI goes to the endpoint from every node and wants a certificate of
// the cluster's CA, for whatever name.
func LeadsToAPI(ctx context.Context, v phases.View) error {
	roots, err := clusterRoots(ctx, v)
	if err != nil {
		return err
	}
	nodes, err := nodesBefore(ctx, v)
	if err != nil {
		return err
	}
	return phases.ForEach(nodes, func(_ int, node string) error {
		if _, err := kube.ServedBy(ctx, v.On(node).DialContext, v.EndpointAddress(), roots); err != nil {
			return fmt.Errorf("from %s: %w", node, err)
		}
		return nil
	})
}

// nodesBefore are the nodes that are there before any has joined.
func nodesBefore(ctx context.Context, v phases.View) ([]string, error) {
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	nodes := []string{v.First().Name}
	for _, w := range workers {
		nodes = append(nodes, w.Name)
	}
	return nodes, nil
}

// NodesNow are nodesBefore and the control-plane nodes that have joined.
func NodesNow(ctx context.Context, v phases.View) ([]string, error) {
	names, err := nodesBefore(ctx, v)
	if err != nil {
		return nil, err
	}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range v.Spec().ControlPlane.Joining {
		if n, joined := nodes[h.Name]; joined && kube.Ready(n) {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

// Serves says whether any of some new connections to the endpoint, so many
// from every node, is answered with this certificate. Each API server has one
// of its own, so that tells which one answers. Every connection must be
// answered. A load balancer may choose by the client's address: asking from
// all nodes finds a backend that one of them would never meet.
func Serves(ctx context.Context, v phases.View, cert *x509.Certificate, tries int) (bool, error) {
	roots, err := clusterRoots(ctx, v)
	if err != nil {
		return false, err
	}
	nodes, err := nodesBefore(ctx, v)
	if err != nil {
		return false, err
	}
	met := make([]bool, len(nodes))
	err = phases.ForEach(nodes, func(i int, node string) error {
		for range tries {
			got, err := kube.ServedCertificate(ctx, v.On(node).DialContext, v.EndpointAddress(), roots)
			if err != nil {
				return fmt.Errorf("reaching the endpoint from %s: %w", node, err)
			}
			if bytes.Equal(got.Raw, cert.Raw) {
				met[i] = true
				return nil
			}
		}
		return nil
	})
	for _, m := range met {
		if m {
			return true, err
		}
	}
	return false, err
}
