package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	podresource "k8s.io/component-helpers/resource"
)

// CPULeft returns how much of a node's CPU no pod has asked for: what its
// kubelet allocates less the requests of all its pods that have not ended. The
// pod of that name is not counted. It is below zero on a node that is full
// beyond its measure. This is what the kubelet goes by when it admits a pod
// (kubernetes: scheduler/framework/plugins/noderesources/fit.go).
func (r Reader) CPULeft(ctx context.Context, node, except string) (resource.Quantity, error) {
	n, err := r.api.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return resource.Quantity{}, fmt.Errorf("reading node %s: %w", node, err)
	}
	list, err := r.api.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return resource.Quantity{}, fmt.Errorf("listing the pods on %s: %w", node, err)
	}
	left := n.Status.Allocatable.Cpu().DeepCopy()
	for i := range list.Items {
		p := &list.Items[i]
		if p.Name == except || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		asked := podresource.PodRequests(p, podresource.PodResourcesOptions{})
		left.Sub(*asked.Cpu())
	}
	return left, nil
}
