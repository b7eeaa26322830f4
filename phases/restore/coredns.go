package restore

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

func (o Options) coreDNS() phases.Step {
	rolledOut := func(ctx context.Context, v phases.Reader) error {
		k, err := v.Kube(ctx)
		if err != nil {
			return err
		}
		d, err := k.Deployment(ctx, "kube-system", "coredns")
		if err != nil {
			return err
		}
		s := d.Status
		if d.Spec.Template.Annotations[restoredAnnotation] != o.ID || s.ObservedGeneration < d.Generation || s.UpdatedReplicas < s.Replicas || s.AvailableReplicas < s.Replicas {
			return fmt.Errorf("CoreDNS is not the new one yet: %d of %d pods are", min(s.UpdatedReplicas, s.AvailableReplicas), s.Replicas)
		}
		return nil
	}
	return phases.Step{
		ID:    coreDNSID,
		Title: "Restart CoreDNS",
		Why:   "It answers with Services and addresses of after the snapshot.",
		On:    migrate.Once,
		Needs: []migrate.StepID{kubeProxyID},
		Check: o.checkRollOut("CoreDNS pod", rolledOut),
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.AnnotateDeploymentPods(ctx, "kube-system", "coredns", restoredAnnotation, o.ID)
		},
		Verify: rolledOut,
		OneWay: oneWay,
		Settle: 5 * time.Minute, WaitsFor: "CoreDNS",
	}
}
