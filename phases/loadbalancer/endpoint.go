package loadbalancer

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

const endpointID = balancer.EndpointID

// endpoint is the proof for every kind of load balancer: nobody is moved before
// it. It comes after the step from which on that one answers.
func endpoint(after migrate.StepID) phases.Step {
	return phases.Step{
		ID:     endpointID,
		Title:  "Prove that the load balancer leads to the API server",
		Why:    "What it does not do would be found out by every client at once.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{servingCertificateID, after},
		ByHand: `{{template "balancer-prove" .}}`,
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			return balancers.Of(v.Spec()).Check(ctx, v)
		},
		Apply: func(context.Context, phases.Writer, migrate.Before) error { return nil },
		Verify: func(ctx context.Context, v phases.Reader) error {
			return balancers.Of(v.Spec()).Verify(ctx, v)
		},
		OneWay: "it changes nothing",
		Settle: 30 * time.Second, WaitsFor: "the load balancer",
	}
}
