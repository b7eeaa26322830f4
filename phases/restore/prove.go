package restore

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const provedMark = "proved"

// prove writes and reads through every API server, and asks for what holds
// between any two steps of the migration.
func (o Options) prove() phases.Step {
	return phases.Step{
		ID:    proveID,
		Title: "Write and read through every API server",
		Why:   "An API server that is ready may still be unable to write.",
		On:    migrate.Once,
		Needs: []migrate.StepID{coreDNSID},
		Check: o.onMark(provedMark, "it was done, and every node was Ready", "it was not done yet"),
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			planes, err := h.Access().Targets(ctx, migrate.ControlPlanes)
			if err != nil {
				return err
			}
			for _, node := range planes {
				cfg, err := h.AdminConfigOn(ctx, node)
				if err != nil {
					return err
				}
				if err := kube.WriteAndRead(ctx, cfg, "migrate-restore-check"); err != nil {
					return err
				}
			}
			if err := o.allReady(ctx, h.Reader); err != nil {
				return err
			}
			if _, err := h.On(h.First().Name).Run(ctx, remote.Command{Script: "set -eu; umask 077\n" + o.setMark(provedMark)}); err != nil {
				return fmt.Errorf("keeping that it was done: %w", err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			if err := phases.CheckInvariants(ctx, v); err != nil {
				return err
			}
			if err := o.oneCluster(ctx, v); err != nil {
				return err
			}
			return o.verifyMark(provedMark)(ctx, v)
		},
		OneWay: oneWay,
		Settle: 2 * time.Minute,
	}
}

// allReady wants every node Ready whose kubelet the restore has restarted.
// Others came with the snapshot: nodes that were removed after it, or that the
// spec does not name.
func (o Options) allReady(ctx context.Context, v phases.Reader) error {
	ours, err := o.nodes(ctx, v)
	if err != nil {
		return err
	}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, name := range ours {
		if !kube.Ready(nodes[name]) {
			return fmt.Errorf("node %s is not Ready (%s)", name, ifGone(v.Spec(), name))
		}
	}
	return nil
}
