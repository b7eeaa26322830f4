package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// spreadAnnotation makes the roll-out happen once for a finding, however
// often it is applied: its value is when the need was found.
const spreadAnnotation = "migrate.hamigrate/spread-at"

// coreDNS spreads CoreDNS: its pods were placed when there was one node, and
// nothing moves them. kubeadm's own guide restarts them; its Deployment
// prefers different nodes by itself.
func coreDNS() phases.Step {
	return phases.Step{
		ID:     coreDNSID,
		Title:  "Spread CoreDNS over the nodes",
		Why:    "With both pods on one node, losing it is an outage of all names, however many API servers there are.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{joinID},
		ByHand: "```\nkubectl -n kube-system get pods -l k8s-app=kube-dns -o wide\nkubectl -n kube-system rollout restart deployment coredns\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			spread, nodes, err := coreDNSNodes(ctx, v)
			if apierrors.IsNotFound(err) {
				return phases.Done("this cluster has no Deployment coredns"), nil
			}
			if err != nil {
				return migrate.Finding{}, err
			}
			if spread {
				return phases.Done("CoreDNS runs on %s", runsOn(nodes)), nil
			}
			if paused, err := coreDNSPaused(ctx, v); err != nil || paused {
				return phases.Block("`kubectl -n kube-system rollout resume deployment coredns`",
					"CoreDNS runs on %s only, and its Deployment is paused, so no pod would move", runsOn(nodes)), err
			}
			return phases.Need(migrate.Before{"nodes": strings.Join(nodes, ","), "found": time.Now().UTC().Format(time.RFC3339)}, "CoreDNS runs on %s only", runsOn(nodes)), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, before migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			// A roll-out that is under way, or was enough, is not begun again.
			if spread, _, err := coreDNSNodes(ctx, h.Reader); err != nil || spread {
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
		Verify: verifyCoreDNS,
		OneWay: "pods on several nodes answer as well as before, and which nodes is the scheduler's choice; those on a node that leaves are moved with it",
		Settle: 5 * time.Minute, WaitsFor: "CoreDNS",
	}
}

// verifyCoreDNS wants the roll-out to be over, and pods on more than one node.
// Once it is over nothing moves a pod any more, so waiting for that ends there.
func verifyCoreDNS(ctx context.Context, v phases.Reader) error {
	d, ready, err := coreDNSReady(ctx, v)
	if err != nil {
		return err
	}
	if err := rolledOut(d); err != nil {
		return errors.Join(err, coreDNSTrouble(ctx, v, d))
	}
	return spreadOut(d, ready)
}

// spreadOut wants the ready pods of a Deployment that is rolled out on more than
// one node.
func spreadOut(d *appsv1.Deployment, ready []corev1.Pod) error {
	// The pods were listed after the Deployment, and may have changed since.
	if n, wanted := len(ready), int(wantedPods(d)); n < wanted {
		return fmt.Errorf("rolling out CoreDNS: %d of %d pods are Ready", n, wanted)
	}
	nodes := nodesOf(ready)
	if !spreadEnough(d, nodes) {
		return migrate.Hopeless(fmt.Errorf("CoreDNS was rolled out, and the scheduler has put all its pods on %s again: see which other nodes may take them (`kubectl get nodes`, cordons, taints), and run again", runsOn(nodes)))
	}
	return nil
}

func rolledOut(d *appsv1.Deployment) error {
	s := d.Status
	if d.Spec.Paused {
		return migrate.Hopeless(errors.New("rolling out CoreDNS: its Deployment is paused: `kubectl -n kube-system rollout resume deployment coredns`"))
	}
	// A pod that is still to be made is not counted in Replicas (kubectl:
	// pkg/polymorphichelpers/rollout_status.go asks for both).
	wanted := max(s.Replicas, wantedPods(d))
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < wanted || s.AvailableReplicas < wanted {
		return fmt.Errorf("rolling out CoreDNS: %d of %d pods are new and available", min(s.UpdatedReplicas, s.AvailableReplicas), wanted)
	}
	return nil
}

// wantedPods is 1 where nothing is said (apps/v1: the default).
func wantedPods(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// coreDNSTrouble is the error that a pod will not get ready.
func coreDNSTrouble(ctx context.Context, v phases.Reader, d *appsv1.Deployment) error {
	pods, err := coreDNSPods(ctx, v, d)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.DeletionTimestamp != nil || p.Annotations[spreadAnnotation] != d.Spec.Template.Annotations[spreadAnnotation] {
			continue
		}
		if err := v.PodTrouble(p); err != nil {
			return err
		}
	}
	return nil
}

func coreDNSPaused(ctx context.Context, v phases.Reader) (bool, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return false, err
	}
	d, err := k.Deployment(ctx, "kube-system", "coredns")
	return err == nil && d.Spec.Paused, err
}

// coreDNSPods lists those that the Deployment selects; kubeadm labels them
// k8s-app=kube-dns.
func coreDNSPods(ctx context.Context, v phases.Reader, d *appsv1.Deployment) ([]corev1.Pod, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	selector := "k8s-app=kube-dns"
	if d.Spec.Selector != nil {
		selector = metav1.FormatLabelSelector(d.Spec.Selector)
	}
	return k.Pods(ctx, "kube-system", selector)
}

// runsOn names nodes.
func runsOn(nodes []string) string {
	if len(nodes) == 0 {
		return "no node"
	}
	return strings.Join(nodes, ", ")
}

// spreadEnough: one replica, or none, is somebody's choice.
func spreadEnough(d *appsv1.Deployment, nodes []string) bool {
	return d.Spec.Replicas != nil && *d.Spec.Replicas < 2 || len(nodes) > 1
}

// coreDNSNodes lists the nodes with a ready CoreDNS pod. One replica is
// somebody's choice and counts as spread.
func coreDNSNodes(ctx context.Context, v phases.Reader) (spread bool, nodes []string, err error) {
	d, nodes, err := CoreDNSNodes(ctx, v)
	if err != nil {
		return false, nil, err
	}
	return spreadEnough(d, nodes), nodes, nil
}

// CoreDNSNodes lists the nodes with a ready CoreDNS pod, beside its Deployment.
func CoreDNSNodes(ctx context.Context, v phases.Reader) (d *appsv1.Deployment, nodes []string, err error) {
	d, ready, err := coreDNSReady(ctx, v)
	return d, nodesOf(ready), err
}

// coreDNSReady lists the ready pods, beside the Deployment, which is read first.
func coreDNSReady(ctx context.Context, v phases.Reader) (d *appsv1.Deployment, ready []corev1.Pod, err error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	if d, err = k.Deployment(ctx, "kube-system", "coredns"); err != nil {
		return nil, nil, err
	}
	pods, err := coreDNSPods(ctx, v, d)
	if err != nil {
		return nil, nil, err
	}
	return d, slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !kube.PodReady(p) }), nil
}

func nodesOf(pods []corev1.Pod) []string {
	var nodes []string
	for _, p := range pods {
		if !slices.Contains(nodes, p.Spec.NodeName) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	slices.Sort(nodes)
	return nodes
}
