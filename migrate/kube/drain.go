package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cordon keeps the scheduler from placing pods on a node; a node that is not
// there is success.
func (c Client) Cordon(ctx context.Context, node string) error {
	_, err := c.api.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cordoning node %s: %w", node, err)
	}
	return nil
}

// Evict asks for a pod's orderly end; one that is not there is success. That a
// disruption budget forbids it for now is IsTooManyRequests (apimachinery).
func (c Client) Evict(ctx context.Context, namespace, pod string) error {
	err := c.api.CoreV1().Pods(namespace).EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("evicting pod %s/%s: %w", namespace, pod, err)
	}
	return nil
}

// StaysWithNode says whether a pod is the node's own: a static pod's mirror, a
// DaemonSet's, or one that has ended. `kubectl drain --ignore-daemonsets`
// leaves the same ones alone (kubectl: pkg/drain/filters.go).
func StaysWithNode(p corev1.Pod) bool {
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	owner := metav1.GetControllerOf(&p)
	return owner != nil && owner.Kind == "DaemonSet" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// CantMove says why a pod would not come back elsewhere as it is, "" where it
// would: nobody makes it again, or its data is in a folder of the node's.
func CantMove(p corev1.Pod) string {
	if metav1.GetControllerOf(&p) == nil {
		return "nothing makes it again"
	}
	for _, v := range p.Spec.Volumes {
		if v.EmptyDir != nil {
			return "its emptyDir " + v.Name + " would be lost"
		}
	}
	return ""
}
