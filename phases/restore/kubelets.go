package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	kubeletMark = "kubelet-restarted"
	// restoredAnnotation on a pod template makes the roll-out happen once for
	// a restore.
	restoredAnnotation = "migrate.hamigrate/restored"
)

// kubelets restarts what remembers objects and revisions from after the
// snapshot, as kubeProxy and coreDNS do: they would run pods that are no more,
// and send traffic to them.
func (o Options) kubelets() phases.Step {
	return phases.Step{
		ID:    kubeletsID,
		Title: "Restart the kubelets, one after the other",
		Why:   "A kubelet goes on with pods that the restored cluster does not know, and does not start those it should.",
		On:    migrate.Once,
		Needs: []migrate.StepID{controllersID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if err := o.kubeletsSeen(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("all were restarted, and their nodes are Ready"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			nodes, err := o.nodes(ctx, h.Reader)
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
func (o Options) nodes(ctx context.Context, v phases.Reader) ([]string, error) {
	nodes, err := v.Access().Targets(ctx, migrate.ControlPlanes)
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
func (o Options) restartKubelet(ctx context.Context, h phases.Writer, node string) error {
	done, err := o.marked(ctx, h.Reader, node, kubeletMark)
	if err != nil {
		return fmt.Errorf("restarting the kubelet on %s (%s): %w", node, ifGone(h.Spec(), node), err)
	}
	if done {
		return nil
	}
	script := "set -eu; umask 077\nsystemctl restart kubelet\n" + o.setMark(kubeletMark)
	if _, err := h.On(node).Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("restarting the kubelet on %s (%s): %w", node, ifGone(h.Spec(), node), err)
	}
	return phases.Await(ctx, h.Reader, 3*time.Minute, func(ctx context.Context) error { return o.kubeletSeen(ctx, h.Reader, node) })
}

func (o Options) kubeletsSeen(ctx context.Context, v phases.Reader) error {
	nodes, err := o.nodes(ctx, v)
	if err != nil {
		return err
	}
	return parallel.Each(nodes, func(_ int, node string) error { return o.kubeletSeen(ctx, v, node) })
}

// kubeletSeen wants a node Ready and its lease renewed since its kubelet was
// restarted: what the snapshot says of it is of the past.
func (o Options) kubeletSeen(ctx context.Context, v phases.Reader, node string) error {
	done, err := o.marked(ctx, v, node, kubeletMark)
	if err != nil {
		return fmt.Errorf("looking at the kubelet on %s (%s): %w", node, ifGone(v.Spec(), node), err)
	}
	if !done {
		return fmt.Errorf("the kubelet on %s was not restarted yet", node)
	}
	return phases.KubeletSeen(ctx, v, node)
}
