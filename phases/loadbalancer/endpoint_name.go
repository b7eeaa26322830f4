package loadbalancer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

const endpointNameID = "loadbalancer/endpoint-name"

// endpointName stands between the load balancer, which answers by now, and
// those who are pointed to the endpoint. A cluster whose clients follow the
// endpoint's name already, since it meant the first control-plane node, is moved
// by this name: it may mean the load balancer only when that listens. So this is
// the place where a person is asked to change it.
func endpointName() phases.Step {
	return phases.Step{
		ID:    endpointNameID,
		Title: "Prove that the endpoint leads through the load balancer",
		Why:   "A name that means the first control-plane node answers as well, until that node stops: then every client is without the API.",
		On:    migrate.Once,
		Needs: []migrate.StepID{endpointID},
		ByHand: "On every node the endpoint's name has to mean the load balancer, in DNS or in /etc/hosts. Change it only now, when nginx listens: " +
			"clients that follow the name already come to the load balancer with their next connection. Then, on every node:\n\n" +
			"```\ngetent ahosts {{.EndpointHost}}    # the load balancer's address, and no other\n" +
			"curl -sv --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz 2>&1 | grep -E 'Connected|^ok'    # to the load balancer's address\n```\n",
		Check:  checkEndpointName,
		Apply:  applyEndpointName,
		Verify: balancer.VerifyEndpoint,
		OneWay: "it changes nothing: the name is yours",
		Settle: 30 * time.Second, WaitsFor: "the endpoint's name",
	}
}

// checkEndpointName: with somebody else's load balancer the step before is the
// whole proof.
func checkEndpointName(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	if !balancers.Of(v.Spec()).Configured() {
		return phases.Done("the step before proves it"), nil
	}
	wrong, err := wrongMeanings(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if len(wrong) > 0 {
		f := phases.Need(migrate.Before{}, "%s; when the load balancer listens you are asked for these lines", sentences(wrong))
		for _, m := range wrong {
			f.Changes = append(f.Changes, migrate.Change{Object: m.Node + ": for you to change, what " + v.Spec().Endpoint.Host + " means",
				Before: lines(m.Addresses), After: lines([]string{balancerAddress(v)})})
		}
		return f, nil
	}
	if err := balancer.VerifyEndpoint(ctx, v); err != nil {
		return phases.Need(migrate.Before{}, "not yet: %v", err), nil
	}
	return phases.Done("connections to %s from every node go through the load balancer", v.EndpointAddress()), nil
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// wrongMeanings are the nodes on which the endpoint means no load balancer.
func wrongMeanings(ctx context.Context, v phases.Reader) ([]Meaning, error) {
	nodes, err := balancer.NodesNow(ctx, v)
	if err != nil {
		return nil, err
	}
	return wrongOn(ctx, v, nodes)
}

// wrongOn is wrongMeanings of these nodes.
func wrongOn(ctx context.Context, v phases.Reader, nodes []string) ([]Meaning, error) {
	all, err := Meanings(ctx, v, nodes)
	return slices.DeleteFunc(all, func(m Meaning) bool { return m.Wrong == "" }), err
}

func sentences(wrong []Meaning) string {
	var out []string
	for _, m := range wrong {
		out = append(out, fmt.Sprintf("on %s %s", m.Node, m.Wrong))
	}
	return strings.Join(out, "; ")
}

// applyEndpointName asks for what only a person can do, and waits for it.
func applyEndpointName(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	nodes, err := balancer.NodesNow(ctx, h.Reader)
	if err != nil {
		return err
	}
	wrong, err := wrongOn(ctx, h.Reader, nodes)
	if err != nil || len(wrong) == 0 {
		return err
	}
	var asked strings.Builder
	fmt.Fprintf(&asked, "The load balancer listens. Let %s mean %s now, in DNS, or on each node with the line below. This waits, at most %s, until it does.",
		h.Spec().Endpoint.Host, balancerAddress(h.Reader), h.AskWait())
	for _, m := range wrong {
		fmt.Fprintf(&asked, "\n  on %s: %s", m.Node, m.Fix)
	}
	h.Ask(asked.String())
	said, err := awaitName(ctx, h, nodes,
		func(ctx context.Context, nodes []string) ([]Meaning, error) { return wrongOn(ctx, h.Reader, nodes) }, sentences)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("waiting for %s to mean the load balancer (%s); change it and run again, --wait-backend waits longer: %w", h.Spec().Endpoint.Host, said, err)
	}
	return err
}
