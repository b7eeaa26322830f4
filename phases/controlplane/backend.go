package controlplane

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

const backendID = balancer.BackendID

// backend adds the joined API server to the load balancer.
func backend() phases.Step {
	return phases.Step{
		ID:      backendID,
		Title:   "Add the node's API server to the load balancer",
		Why:     "nginx can't see /readyz, so it gets an API server only when that is ready.",
		On:      migrate.JoiningControlPlanes,
		Rolling: true,
		Needs:   []migrate.StepID{joinID},
		ByHand:  `{{template "balancer-add" .}}`,
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			return balancers.Of(v.Spec()).Backends.Check(ctx, v)
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			cfg, err := h.AdminConfigOn(ctx, h.Target())
			if err != nil {
				return err
			}
			if err := kube.Readyz(ctx, cfg); err != nil {
				return err
			}
			return balancers.Of(h.Spec()).Backends.Add(ctx, h)
		},
		Verify: verifyBackend,
		Undo: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			return balancers.Of(h.Spec()).Backends.Remove(ctx, h)
		},
		Settle: 30 * time.Second, WaitsFor: "the load balancer",
	}
}

// verifyBackend wants the API server behind the load balancer, the load
// balancer's own way to it, and the endpoint answering from every node as before.
func verifyBackend(ctx context.Context, v phases.Reader) error {
	b := balancers.Of(v.Spec()).Backends
	f, err := b.Check(ctx, v)
	if err != nil {
		return err
	}
	if f.Verdict != migrate.Satisfied {
		return fmt.Errorf("%s", f.Reason)
	}
	if err := b.Reached(ctx, v); err != nil {
		return err
	}
	return balancer.VerifyEndpoint(ctx, v)
}
