package initlook

import (
	"context"
	"net"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// liveCluster is a cluster of which one host is known: its control-plane
// node, connected to. It is looked at with the eyes of the phases.
type liveCluster struct {
	host  remote.Host
	world *phases.Access
	waits func(what string) (done func()) // nil: nobody is told
}

// NewLive is the cluster of a host that is connected to. Waits tells of answers
// that take long; nil: nobody is told.
func NewLive(host remote.Host, waits func(what string) (done func())) *liveCluster {
	return &liveCluster{host: host, waits: waits}
}

var _ initspec.Cluster = (*liveCluster)(nil)

// Host implements phases.Hosts for the one host.
func (l *liveCluster) Host(context.Context, cluster.Host) (remote.Host, error) { return l.host, nil }

// Waits tells of answers that take long; phases.Access asks for it.
func (l *liveCluster) Waits(_ cluster.Host, what string) (done func()) {
	if l.waits == nil {
		return func() {}
	}
	return l.waits(what)
}

// view is an Access with nothing but the control-plane node, at the address
// that its API server advertises.
func (l *liveCluster) view(address string) phases.Reader {
	if l.world == nil {
		l.world = phases.NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{
			First: cluster.Host{Name: l.host.Name(), Address: address},
		}}, l)
	}
	return l.world.Reader(migrate.ClusterTarget)
}

// Kube implements initspec.Cluster.
func (l *liveCluster) Kube(ctx context.Context, address string) (initspec.API, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return l.view(host).Kube(ctx)
}

// Etcd implements initspec.Cluster.
func (l *liveCluster) Etcd(ctx context.Context, address string) (etcd.Look, error) {
	reader, err := l.view(address).Etcd(ctx)
	if err != nil {
		return etcd.Look{}, err
	}
	return reader.Look(ctx)
}

// Close gives the connections of its looks back; the host stays connected.
func (l *liveCluster) Close() {
	if l.world != nil {
		// Closing tells nothing that looking has not told.
		_ = l.world.Close()
	}
}
