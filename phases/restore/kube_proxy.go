package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeProxy rolls kube-proxy out again. That it happens shows as well that the
// controller-manager works.
func (o Options) kubeProxy() phases.Step {
	return phases.Step{
		ID:    kubeProxyID,
		Title: "Restart kube-proxy everywhere",
		Why:   "It sends traffic to where pods were after the snapshot.",
		On:    migrate.Once,
		Needs: []migrate.StepID{kubeletsID},
		Check: o.checkRollOut("kube-proxy", o.proxiesNew),
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.AnnotateDaemonSetPods(ctx, "kube-system", "kube-proxy", restoredAnnotation, o.ID)
		},
		Verify: o.proxiesNew,
		OneWay: oneWay,
		Settle: 10 * time.Minute, WaitsFor: "kube-proxy",
	}
}

// checkRollOut finds a roll-out done, still to be done, or nothing to roll out.
func (o Options) checkRollOut(what string, isNew func(context.Context, phases.Reader) error) func(context.Context, phases.Reader) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
		switch err := isNew(ctx, v); {
		case apierrors.IsNotFound(err):
			return phases.Done("this cluster has no %s", what), nil
		case err != nil:
			return phases.Need(migrate.Before{}, "%v", err), nil
		}
		return phases.Done("every %s is newer than the restore", what), nil
	}
}

// proxiesNew wants a new kube-proxy on every Ready node.
func (o Options) proxiesNew(ctx context.Context, v phases.Reader) error {
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	ds, err := k.DaemonSet(ctx, "kube-system", "kube-proxy")
	if err != nil {
		return err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	pods, err := k.Pods(ctx, "kube-system", metav1.FormatLabelSelector(ds.Spec.Selector))
	if err != nil {
		return err
	}
	renewed := map[string]bool{}
	for _, p := range pods {
		renewed[p.Spec.NodeName] = renewed[p.Spec.NodeName] || isNewPod(p, o.ID)
	}
	var old, away []string
	for name, n := range nodes {
		switch {
		case !kube.Ready(n):
			away = append(away, name)
		case !renewed[name]:
			old = append(old, name)
		}
	}
	if len(old) == 0 {
		return nil
	}
	slices.Sort(old)
	err = fmt.Errorf("kube-proxy on %s is not the new one yet", strings.Join(old, ", "))
	if len(away) > 0 {
		slices.Sort(away)
		err = fmt.Errorf("%w: it may wait for what is not Ready, %s; `kubectl delete node` takes away one that is gone for good", err, strings.Join(away, ", "))
	}
	return err
}

func isNewPod(p corev1.Pod, id string) bool {
	return p.DeletionTimestamp == nil && p.Annotations[restoredAnnotation] == id && kube.PodReady(p)
}
