package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What remembers objects and revisions from after the snapshot: kubelets,
// kube-proxies and CoreDNS. They would run pods that are no more, and send
// traffic to them.
const (
	kubeletsID  = "restore/kubelets"
	kubeProxyID = "restore/kube-proxy"
	coreDNSID   = "restore/coredns"

	kubeletMark = "kubelet-restarted"
	// restoredAnnotation on a pod template makes the roll-out happen once for
	// a restore.
	restoredAnnotation = "migrate.hamigrate/restored"
)

func (o Options) kubelets() phases.Step {
	return phases.Step{
		ID:    kubeletsID,
		Title: "Restart the kubelets, one after the other",
		Why:   "A kubelet goes on with pods that the restored cluster does not know, and does not start those it should.",
		On:    migrate.Once,
		Needs: []migrate.StepID{controllersID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if err := o.kubeletsSeen(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("all were restarted, and their nodes are Ready"), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			nodes, err := o.nodes(ctx, h.View)
			if err != nil {
				return err
			}
			for _, node := range nodes {
				if err := o.restartKubelet(ctx, h, node); err != nil {
					return err
				}
			}
			return nil
		},
		Verify: o.kubeletsSeen,
		OneWay: oneWay,
		Settle: 5 * time.Minute, WaitsFor: "kubelet",
	}
}

// nodes are the control-plane nodes and the workers. The workers may have to
// be asked of the API.
func (o Options) nodes(ctx context.Context, v phases.View) ([]string, error) {
	nodes, err := v.World().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return nil, err
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		nodes = append(nodes, w.Name)
	}
	return nodes, nil
}

// ifGone says how a restore ends without a node that will not come back. The
// Node has to go as well, which came with the snapshot: a kube-proxy of a node
// that is away counts as unavailable, and the roll-out waits for it.
func ifGone(spec cluster.Spec, node string) string {
	named := func(hosts []cluster.Host) bool {
		return slices.ContainsFunc(hosts, func(h cluster.Host) bool { return h.Name == node })
	}
	switch {
	case node == spec.ControlPlane.First.Name || named(spec.ControlPlane.Joining):
		return "the restore needs this control-plane node"
	case named(spec.Workers):
		return fmt.Sprintf("if %[1]s is gone for good, take it out of spec.workers, `kubectl delete node %[1]s`, and run again", node)
	}
	return fmt.Sprintf("if %[1]s is gone for good, `kubectl delete node %[1]s` and run again", node)
}

// restartKubelet restarts one that this restore has not restarted, and waits
// until its node is seen.
func (o Options) restartKubelet(ctx context.Context, h phases.Hands, node string) error {
	done, err := o.marked(ctx, h.View, node, kubeletMark)
	if err != nil {
		return fmt.Errorf("restarting the kubelet on %s (%s): %w", node, ifGone(h.Spec(), node), err)
	}
	if done {
		return nil
	}
	script := "set -eu; umask 077\nsystemctl restart kubelet\n" + o.setMark(kubeletMark)
	if _, err := h.On(node).Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("restarting the kubelet on %s (%s): %w", node, ifGone(h.Spec(), node), err)
	}
	return phases.Await(ctx, h.View, 3*time.Minute, func(ctx context.Context) error { return o.kubeletSeen(ctx, h.View, node) })
}

func (o Options) kubeletsSeen(ctx context.Context, v phases.View) error {
	nodes, err := o.nodes(ctx, v)
	if err != nil {
		return err
	}
	return phases.ForEach(nodes, func(_ int, node string) error { return o.kubeletSeen(ctx, v, node) })
}

// kubeletSeen wants a node Ready and its lease renewed since its kubelet was
// restarted: what the snapshot says of it is of the past.
func (o Options) kubeletSeen(ctx context.Context, v phases.View, node string) error {
	done, err := o.marked(ctx, v, node, kubeletMark)
	if err != nil {
		return fmt.Errorf("looking at the kubelet on %s (%s): %w", node, ifGone(v.Spec(), node), err)
	}
	if !done {
		return fmt.Errorf("the kubelet on %s was not restarted yet", node)
	}
	return phases.KubeletSeen(ctx, v, node)
}

// kubeProxy rolls kube-proxy out anew. That it happens shows as well that the
// controller-manager works.
func (o Options) kubeProxy() phases.Step {
	return phases.Step{
		ID:    kubeProxyID,
		Title: "Restart kube-proxy everywhere",
		Why:   "It sends traffic to where pods were after the snapshot.",
		On:    migrate.Once,
		Needs: []migrate.StepID{kubeletsID},
		Check: o.checkRollOut("kube-proxy", o.proxiesNew),
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
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
func (o Options) checkRollOut(what string, isNew func(context.Context, phases.View) error) func(context.Context, phases.View) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.View) (migrate.Finding, error) {
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
func (o Options) proxiesNew(ctx context.Context, v phases.View) error {
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

func (o Options) coreDNS() phases.Step {
	rolledOut := func(ctx context.Context, v phases.View) error {
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
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
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
