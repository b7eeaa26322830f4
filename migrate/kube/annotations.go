package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// DropDaemonSetPodsAnnotation takes an annotation off the pod template, which
// rolls the DaemonSet out; one that is not there changes nothing. A template
// that is again what it was gets its old ControllerRevision back.
func (c Client) DropDaemonSetPodsAnnotation(ctx context.Context, namespace, name, key string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:null}}}}}`, key)
	if _, err := c.api.AppsV1().DaemonSets(namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("rolling out DaemonSet %s/%s: %w", namespace, name, err)
	}
	return nil
}
