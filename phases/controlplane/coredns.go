package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// spreadAnnotation makes the roll-out happen once for a finding, however
// often it is applied: its value is when the need was found.
const spreadAnnotation = "migrate.hamigrate/spread-at"

// coreDNS spreads CoreDNS: its pods were placed when there was one node, and
// nothing moves them. kubeadm's own guide restarts them; its Deployment
// prefers different nodes by itself.
func coreDNS() phases.Step {
	return phases.Step{
		ID:     "controlplane/coredns",
		Title:  "Spread CoreDNS over the nodes",
		Why:    "With both pods on one node, losing it is an outage of all names, however many API servers there are.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{joinID},
		ByHand: "```\nkubectl -n kube-system get pods -l k8s-app=kube-dns -o wide\nkubectl -n kube-system rollout restart deployment coredns\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			spread, nodes, err := coreDNSNodes(ctx, v)
			if apierrors.IsNotFound(err) {
				return phases.Done("this cluster has no Deployment coredns"), nil
			}
			if err != nil {
				return migrate.Finding{}, err
			}
			if spread {
				return phases.Done("CoreDNS runs on %s", strings.Join(nodes, ", ")), nil
			}
			return phases.Need(migrate.Before{"nodes": strings.Join(nodes, ","), "found": time.Now().UTC().Format(time.RFC3339)}, "CoreDNS runs on %s only", strings.Join(nodes, ", ")), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, before migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			// A roll-out that is under way, or was enough, is not begun again.
			if spread, _, err := coreDNSNodes(ctx, h.View); err != nil || spread {
				return err
			}
			d, err := k.Deployment(ctx, "kube-system", "coredns")
			if err != nil {
				return err
			}
			at := before["found"]
			if d.Spec.Template.Annotations[spreadAnnotation] == at && rolledOut(d) == nil {
				at = time.Now().UTC().Format(time.RFC3339)
			}
			return k.AnnotateDeploymentPods(ctx, "kube-system", "coredns", spreadAnnotation, at)
		},
		Verify: func(ctx context.Context, v phases.View) error {
			k, err := v.Kube(ctx)
			if err != nil {
				return err
			}
			d, err := k.Deployment(ctx, "kube-system", "coredns")
			if err != nil {
				return err
			}
			if err := rolledOut(d); err != nil {
				return err
			}
			spread, nodes, err := coreDNSNodes(ctx, v)
			if err != nil {
				return err
			}
			if !spread {
				return fmt.Errorf("CoreDNS runs on %s only", strings.Join(nodes, ", "))
			}
			return nil
		},
		OneWay: "pods on several nodes answer as well as before, and which nodes is the scheduler's choice; those on a node that leaves are moved with it",
		Settle: 5 * time.Minute, WaitsFor: "CoreDNS",
	}
}

func rolledOut(d *appsv1.Deployment) error {
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < s.Replicas || s.AvailableReplicas < s.Replicas {
		return fmt.Errorf("rolling out CoreDNS: %d of %d pods are new and available", min(s.UpdatedReplicas, s.AvailableReplicas), s.Replicas)
	}
	return nil
}

// coreDNSNodes lists the nodes with a ready CoreDNS pod. One replica is
// somebody's choice and counts as spread.
func coreDNSNodes(ctx context.Context, v phases.View) (spread bool, nodes []string, err error) {
	d, nodes, err := CoreDNSNodes(ctx, v)
	if err != nil {
		return false, nil, err
	}
	one := d.Spec.Replicas != nil && *d.Spec.Replicas < 2
	return one || len(nodes) > 1, nodes, nil
}

// CoreDNSNodes lists the nodes with a ready CoreDNS pod, beside its Deployment.
func CoreDNSNodes(ctx context.Context, v phases.View) (d *appsv1.Deployment, nodes []string, err error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	if d, err = k.Deployment(ctx, "kube-system", "coredns"); err != nil {
		return nil, nil, err
	}
	pods, err := k.Pods(ctx, "kube-system", "k8s-app=kube-dns")
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pods {
		if p.DeletionTimestamp == nil && kube.PodReady(p) && !slices.Contains(nodes, p.Spec.NodeName) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	slices.Sort(nodes)
	return d, nodes, nil
}
