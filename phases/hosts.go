package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// foundWorkers are the workers of a cluster whose spec names none, once they
// were looked for.
type foundWorkers struct {
	mu   sync.Mutex
	list []cluster.Host
}

func (f *foundWorkers) get() []cluster.Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

func (f *foundWorkers) set(list []cluster.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = list
}

// Targets lists the names of a selector's targets.
func (w *Access) Targets(ctx context.Context, s migrate.Selector) ([]string, error) {
	switch s {
	case migrate.Once:
		return []string{"cluster"}, nil
	case migrate.FirstControlPlane:
		return []string{w.spec.ControlPlane.First.Name}, nil
	case migrate.JoiningControlPlanes:
		return names(w.spec.ControlPlane.Joining), nil
	case migrate.ControlPlanes:
		return w.findControlPlanes(ctx)
	case migrate.EtcdHosts:
		return names(w.spec.EtcdMembers()), nil
	case migrate.LoadBalancers:
		return names(w.spec.LoadBalancer.Hosts), nil
	case migrate.Workers:
		workers, err := w.findWorkers(ctx)
		return names(workers), err
	}
	return nil, fmt.Errorf("listing targets: unknown selector %q", s)
}

func names(hosts []cluster.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

// findWorkers returns the spec's workers, or every Node that is neither in
// the spec's control plane nor marked as control plane.
func (w *Access) findWorkers(ctx context.Context) ([]cluster.Host, error) {
	if w.spec.Workers != nil {
		return w.spec.Workers, nil
	}
	if known := w.workers.get(); known != nil {
		return known, nil
	}
	nodes, err := w.Reader("cluster").Nodes(ctx)
	if err != nil {
		return nil, err
	}
	found := []cluster.Host{}
	for name, n := range nodes {
		if name == w.spec.ControlPlane.First.Name || slices.Contains(names(w.spec.ControlPlane.Joining), name) || kube.IsControlPlane(n) {
			continue
		}
		found = append(found, cluster.Host{Name: name, Address: kube.InternalIP(n), SSH: w.spec.SSH})
	}
	slices.SortFunc(found, func(a, b cluster.Host) int { return strings.Compare(a.Name, b.Name) })
	w.workers.set(found)
	return found, nil
}

// host finds a host of the spec or a found worker by name.
func (w *Access) host(name string) (cluster.Host, error) {
	groups := [][]cluster.Host{{w.spec.ControlPlane.First}, w.spec.ControlPlane.Joining,
		w.spec.LoadBalancer.Hosts, w.spec.Etcd.Hosts, w.spec.Workers, w.workers.get()}
	for _, g := range groups {
		for _, h := range g {
			if h.Name == name {
				return h, nil
			}
		}
	}
	return cluster.Host{}, fmt.Errorf("host %q is in no list of the spec", name)
}

// findControlPlanes lists the first control-plane node and those of the
// joining ones that have an API server, by their files: there may be no API
// to ask.
func (w *Access) findControlPlanes(ctx context.Context) ([]string, error) {
	found := []string{w.spec.ControlPlane.First.Name}
	script := fmt.Sprintf("[ -e %s ] || [ -e %s/kube-apiserver.yaml ] && echo yes || true", APIServerManifest, DisabledDir)
	for _, h := range w.spec.ControlPlane.Joining {
		out, err := w.Reader(h.Name).On(h.Name).Look(ctx, remote.Command{Script: script})
		if err != nil {
			return nil, fmt.Errorf("asking %s whether it has an API server: %w", h.Name, err)
		}
		if strings.TrimSpace(out) == "yes" {
			found = append(found, h.Name)
		}
	}
	return found, nil
}
