// Package cluster holds the spec file as validated data: which hosts there
// are and what the cluster shall look like afterwards.
package cluster

import "time"

// Spec is a parsed and validated spec file. See docs/spec.md.
type Spec struct {
	// Name is metadata.name.
	Name string
	// Endpoint is the new control-plane endpoint.
	Endpoint Endpoint
	// LoadBalancer is what stands in front of the API servers.
	LoadBalancer LoadBalancer
	// Etcd says where etcd is to live.
	Etcd Etcd
	// ControlPlane names the first and the joining control-plane nodes.
	ControlPlane ControlPlane
	// Workers are the nodes named in the spec. Nil means: every other Node
	// of the cluster, reached at its InternalIP.
	Workers []Host
	// SSH are the defaults, also used for workers found in the cluster.
	SSH SSH
	// Fingerprint is a digest of what the file means (not of its comments or
	// layout): "sha256:<hex>". It guards the resuming of a phase.
	Fingerprint string
}

// Endpoint is a host (name or IP address) and a port.
type Endpoint struct {
	Host string
	Port int
}

// Host is one machine.
type Host struct {
	// Name is the host's name; for nodes of the cluster, the Node's name.
	Name string
	// Address is the IP address that other hosts use to reach it.
	Address string
	// SSH is how the operator reaches it, spec.ssh filled in.
	SSH SSH
}

// SSH is how the spec says a host is reached. Empty means that the spec does
// not say: then ~/.ssh/config does, and last the default.
type SSH struct {
	User           string // default: root
	Port           int    // default: 22
	IdentityFile   string // default: the agent's keys and those in ~/.ssh
	KnownHostsFile string // default: ~/.ssh/known_hosts
	Become         string // auto | none | sudo
	// Address overrides Host.Address for SSH only; "" means a HostName of
	// ~/.ssh/config, else Host.Address.
	Address string
	// Timeout bounds one dial with its handshake.
	Timeout time.Duration
}

// EtcdMembers are the hosts that have an etcd member when the migration is done.
func (s Spec) EtcdMembers() []Host { return s.Etcd.Hosts }

// Values of LoadBalancer.Kind.
const (
	LoadBalancerNginx    = "nginx"
	LoadBalancerHAProxy  = "haproxy"
	LoadBalancerKubeVIP  = "kube-vip"
	LoadBalancerExternal = "external"
)

// LoadBalancer is the loadBalancer block.
type LoadBalancer struct {
	Kind  string
	Hosts []Host
}

// Values of Etcd.Topology and Etcd.Binary; any other Binary is a file on the
// operator's machine.
const (
	TopologyExternal       = "external"
	TopologyStacked        = "stacked"
	BinaryFromControlPlane = "from-control-plane"
	BinaryPreinstalled     = "preinstalled"
)

// Etcd is the etcd block.
type Etcd struct {
	Topology string
	Hosts    []Host
	Binary   string
}

// ControlPlane is the controlPlane block.
type ControlPlane struct {
	First   Host
	Joining []Host
	Join    Join
}

// Join is passed to kubeadm join on the joining nodes.
type Join struct {
	Patches               string
	IgnorePreflightErrors []string
}
