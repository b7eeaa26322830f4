package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/balancers"
	"hamigrate/phases/etcd"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// leaveMarker says on the target that this tool began to take it out of the
// cluster. It is there from before the first change until all is as it was
// before the join, and is what tells such a node from somebody's.
const leaveMarker = hostfiles.StateDir + "/leaving"

const (
	// evictLimit bounds the wait for disruption budgets.
	evictLimit = 5 * time.Minute
	// stopLimit is the kubelet's time to end the API server's pod: a look
	// into the manifests folder and terminationGracePeriodSeconds (30 s).
	stopLimit = 2 * time.Minute
)

// leave takes the target out of the cluster. Everything that is refused is
// refused before the first change. Then new connections for its API server go
// to the first one's, it stops in its own orderly way, and when no kube-proxy
// sends anybody there any more, the Node goes and kubeadm resets the host. It
// may be begun again at any place.
func leave(ctx context.Context, h phases.Writer, k kube.Client) error {
	if err := mayLeave(ctx, h.Reader); err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := hostfiles.MakeStateDir(ctx, host); err != nil {
		return err
	}
	if err := host.WriteFile(ctx, remote.File{Path: leaveMarker, Data: []byte("migrate takes this host out of the cluster\n"), Mode: 0o600}); err != nil {
		return err
	}
	if err := k.Cordon(ctx, h.Target()); err != nil {
		return err
	}
	if err := evictAll(ctx, h, k); err != nil {
		return err
	}
	if err := stopAPIServer(ctx, h); err != nil {
		return err
	}
	// A kubelet that runs would write its Node's status, or the Node, again.
	if _, err := host.Run(ctx, remote.Command{Script: "systemctl stop kubelet", Waits: true}); err != nil {
		return fmt.Errorf("stopping the kubelet on %s: %w", h.Target(), err)
	}
	if err := k.DeleteNode(ctx, h.Target()); err != nil {
		return err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	// The skipped phase is the one that would touch etcd (kubernetes/kubeadm#3225).
	// Without its Node kubeadm can't read where the certificates are, and would
	// leave the CAs' keys there (kubeadm: cmd/reset.go, newResetData).
	socket, err := kubeadm.CRISocket(ctx, h.On(h.First().Name)) // by which it has joined
	if err != nil {
		return err
	}
	reset := phases.Detached("kubeadm-reset", "kubeadm", "reset", "--force", "--skip-phases=remove-etcd-member", "--cert-dir="+cc.CertificatesDir(), "--cri-socket="+socket)
	if _, err := host.Run(ctx, reset); err != nil {
		return fmt.Errorf("resetting %s: %w", h.Target(), err)
	}
	if ca := caOfKubelet(cc.CertificatesDir()); ca != "" {
		return host.Remove(ctx, ca)
	}
	return nil
}

// mayLeave refuses what would hurt somebody.
func mayLeave(ctx context.Context, v phases.Reader) error {
	if err := balancers.Of(v.Spec()).Backends.Removed(ctx, v); err != nil {
		return err
	}
	if err := firstStays(ctx, v); err != nil {
		return err
	}
	if err := etcd.Of(v.Spec()).MayLeave(ctx, v); err != nil {
		return err
	}
	pods, err := podsToMove(ctx, v)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if why := kube.CantMove(p); why != "" {
			return fmt.Errorf("pod %s/%s runs on %s, and %s: move it, or `kubectl drain %s --ignore-daemonsets --delete-emptydir-data --force` if nobody needs it",
				p.Namespace, p.Name, v.Target(), why, v.Target())
		}
	}
	return nil
}

// firstStays wants the API server that takes over: ready, and in the
// kubernetes endpoints by a lease of its own. It is never the one that leaves.
func firstStays(ctx context.Context, v phases.Reader) error {
	first := v.First()
	if first.Name == v.Target() {
		return fmt.Errorf("%s is the first control-plane node: it stays", first.Name)
	}
	cfg, err := v.AdminConfigOn(ctx, first.Name)
	if err != nil {
		return err
	}
	if err := kube.Readyz(ctx, cfg); err != nil {
		return fmt.Errorf("%s can't leave while the API server of %s is not ready: %w", v.Target(), first.Name, err)
	}
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	if _, there, err := e.Get(ctx, apiserver.LeaseKey(first.Address)); err != nil || !there {
		return errors.Join(err, fmt.Errorf("%s can't leave while the API server of %s holds no lease for the kubernetes endpoints: it renews it every 10 s, try again", v.Target(), first.Name))
	}
	return nil
}

// podsToMove lists the pods on the target that are not the node's own.
func podsToMove(ctx context.Context, v phases.Reader) ([]corev1.Pod, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	all, err := k.Pods(ctx, "", "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p corev1.Pod) bool { return p.Spec.NodeName != v.Target() || kube.StaysWithNode(p) }), nil
}

// evictAll evicts one pod at a time, and the next one only when CoreDNS is
// whole again: both of its pods may be here and on the node that leaves next.
func evictAll(ctx context.Context, h phases.Writer, k kube.Client) error {
	pods, err := podsToMove(ctx, h.Reader)
	if err != nil || len(pods) == 0 {
		return err
	}
	err = phases.Await(ctx, h.Reader, evictLimit, func(ctx context.Context) error {
		d, err := k.Deployment(ctx, "kube-system", "coredns")
		if err == nil {
			err = rolledOut(d)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		pods, err := podsToMove(ctx, h.Reader)
		if err != nil || len(pods) == 0 {
			return err
		}
		if p := pods[0]; p.DeletionTimestamp == nil {
			if err := k.Evict(ctx, p.Namespace, p.Name); err != nil {
				return err
			}
		}
		return fmt.Errorf("%d pods have not left %s yet", len(pods), h.Target())
	})
	if err != nil {
		return fmt.Errorf("draining %s: %w", h.Target(), err)
	}
	return nil
}

// stopAPIServer stops the control plane of the target. The controllers go
// first, since their API server is this one. The redirect carries new Service
// connections from before the API server refuses any until no kube-proxy sends
// one here. An orderly end takes the API server's lease away by itself; that
// of one which had no such end would last for 15 s.
func stopAPIServer(ctx context.Context, h phases.Writer) error {
	host, address := h.On(h.Target()), h.Self().Address
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		if err := host.Remove(ctx, path.Join(kube.ManifestsDir, name+".yaml")); err != nil {
			return err
		}
	}
	running, err := apiserver.Processes(ctx, host)
	if err != nil {
		return err
	}
	listed := listedAsEndpoint(ctx, h.Reader) != nil // or it can't be known
	if len(running) > 0 || listed {
		if err := redirectLeaving(ctx, h, h.First().Name); err != nil {
			return err
		}
		// Nobody but the kubelet ends a static pod.
		if _, err := host.Run(ctx, remote.Command{Script: "systemctl is-active --quiet kubelet || systemctl start kubelet", Waits: true}); err != nil {
			return fmt.Errorf("starting the kubelet on %s to end its pods: %w", h.Target(), err)
		}
	}
	if err := endAPIServer(ctx, h); err != nil {
		return err
	}
	own, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	if err := apiserver.AwaitEnd(ctx, h, own, stopLimit, func(ctx context.Context) error { return apiServerGone(ctx, h.Reader) }); err != nil {
		return fmt.Errorf("stopping the API server of %s: %w", h.Target(), err)
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	if _, there, err := e.Get(ctx, apiserver.LeaseKey(address)); err != nil || there {
		if err := errors.Join(err, e.Delete(ctx, apiserver.LeaseKey(address))); err != nil {
			return err
		}
	}
	return handOver(ctx, h)
}

// endAPIServer lets the API server of the target end. Where its manifest is
// gone, the kubelet has signalled it already.
func endAPIServer(ctx context.Context, h phases.Writer) error {
	host := h.On(h.Target())
	if _, err := host.ReadFile(ctx, phases.APIServerManifest); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := apiserver.Stop(ctx, h); err != nil {
		return err
	}
	return host.Remove(ctx, phases.APIServerManifest)
}

func apiServerGone(ctx context.Context, v phases.Reader) error {
	list, err := apiserver.Processes(ctx, v.On(v.Target()))
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("it still runs, as process %d", list[0].PID)
	}
	return err
}
