// Package etcd says where etcd's members run when the migration is done. What
// depends on that, others ask a Topology for:
//
//	phases/etcd             the Topology, and the one place that chooses it
//	phases/etcd/external    members on hosts of their own, run by systemd
//	phases/etcd/membership  what is done to the list of members, wherever they run
//
// Which hosts have a member is a fact of the spec: cluster.Spec.EtcdMembers.
package etcd

import (
	"context"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/external"
	"hamigrate/phases/etcd/membership"
)

// Topology is where the members run, and what makes them run.
type Topology interface {
	Clients
	Nodes
	Member
}

// Clients is what those who use etcd are told.
type Clients interface {
	// Servers are the client URLs that the API server of a control-plane node
	// uses, in the order in which its flag names them.
	Servers(spec cluster.Spec, node string) []string
	// Config says in a clause what the etcd section of kubeadm-config names, and
	// whether that is what it is to name.
	Config(spec cluster.Spec, c kube.ClusterConfiguration) (says string, ok bool)
}

// Nodes is what etcd asks of a control-plane node, the target, that joins or
// leaves.
type Nodes interface {
	// MayJoin says whether kubeadm can join a node with this configuration.
	MayJoin(c kube.ClusterConfiguration) bool
	// Joined is the error that a node which has joined has not, of etcd, what it
	// is to have, or has more.
	Joined(ctx context.Context, v phases.Reader) error
	// MayLeave is the error that a reset of the node could take etcd's data.
	MayLeave(ctx context.Context, v phases.Reader) error
}

// Member is the member on the target, with what certificates and restore do to
// it.
type Member interface {
	// Files is where it has its files.
	Files() membership.Files
	// Sign signs new certificates of some kinds ("server", "peer",
	// "healthcheck-client") with etcd's CA, names by kind besides the host's own
	// in those of "server" and "peer". It returns certificates and keys as they
	// belong on their host, and puts nothing there.
	Sign(ctx context.Context, h phases.Writer, names map[string][]string, kinds ...string) ([]remote.File, error)
	// Serves says in a clause how it is started, and whether that is as it is to
	// be: now, and with its host.
	Serves(ctx context.Context, v phases.Reader) (says string, ok bool, err error)
	// State is what starts it calls it on a host: "active", "inactive".
	State(ctx context.Context, v phases.Reader, host string) (string, error)
	// Version is that of its program on a host, where it could be started by
	// that: what is missing otherwise.
	Version(ctx context.Context, v phases.Reader, host string) (version, missing string, err error)
	// Stop ends it, and keeps it from starting with its host.
	Stop(ctx context.Context, h phases.Writer) error
	// Stopped is the error that it runs, or would start with its host.
	Stopped(ctx context.Context, v phases.Reader) error
	// Start starts it on a host, and with it from then on. Where it has no data,
	// initialCluster are the members it looks for. It does not wait until it serves.
	Start(ctx context.Context, h phases.Writer, host, initialCluster string) error
}

// Of is the topology of a spec. There is one so far; the parser of specs refuses
// any other.
func Of(cluster.Spec) Topology { return external.Topology{} }

// Phase declares phase 2 with the steps of all choices.
func Phase() phases.Phase { return external.Phase() }
