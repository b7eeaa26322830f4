package playground

import (
	"fmt"
	"net/netip"
)

// Role is what a host is for.
type Role string

// The roles.
const (
	RoleLoadBalancer Role = "load-balancer"
	RoleEtcd         Role = "etcd"
	RoleFirst        Role = "control-plane"
	RoleJoining      Role = "joining"
	RoleWorker       Role = "worker"
	RoleSpare        Role = "spare"
)

// Host is one machine of a playground.
type Host struct {
	Name    string     `json:"name"`
	Role    Role       `json:"role"`
	Address netip.Addr `json:"address"`
}

// kubernetes says whether the host has containerd, kubelet and kubeadm.
func (h Host) kubernetes() bool { return h.Role != RoleLoadBalancer && h.Role != RoleEtcd }

// joins says whether `up` makes the host part of the cluster.
func (h Host) joins() bool { return h.Role == RoleFirst || h.Role == RoleWorker }

// podSubnet is the host's share of podSubnet, told apart by the last number
// of its address.
func (h Host) podSubnet() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, h.Address.As4()[3], 0}), 24)
}

// The networks inside every playground.
const (
	podSubnet     = "10.244.0.0/16"
	serviceSubnet = "10.96.0.0/12"
)

// Playgrounds take their addresses from 198.18.0.0/15, which RFC 2544 sets
// aside for benchmarks within one site: it is nobody's real network. Each gets
// a /24 of it, its slot.
const slots = 512

// Last numbers of the addresses in a slot.
const (
	lastGateway      = 1   // of the bridge
	lastLoadBalancer = 5   // lb1
	lastControlPlane = 11  // cp1…
	lastEtcd         = 21  // e1…
	lastWorker       = 31  // w1…
	lastOperator     = 254 // of this machine
)

// subnet is the /24 of a slot.
func subnet(slot int) netip.Prefix {
	return netip.PrefixFrom(slotAddress(slot, 0), 24)
}

func slotAddress(slot, last int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(18 + slot/256), byte(slot % 256), byte(last)})
}

// layOut lists the hosts of a playground, the load balancer first.
func layOut(s state) []Host {
	var hosts []Host
	add := func(prefix string, number, last int, role Role) {
		hosts = append(hosts, Host{
			Name:    fmt.Sprintf("%s%d", prefix, number),
			Role:    role,
			Address: slotAddress(max(s.Slot, 0), last+number-1),
		})
	}
	add("lb", 1, lastLoadBalancer, RoleLoadBalancer)
	for n := 1; n <= 3; n++ {
		add("e", n, lastEtcd, RoleEtcd)
	}
	add("cp", 1, lastControlPlane, RoleFirst)
	add("cp", 2, lastControlPlane, RoleJoining)
	add("cp", 3, lastControlPlane, RoleJoining)
	workers := max(s.Workers, 0)
	for n := 1; n <= workers; n++ {
		add("w", n, lastWorker, RoleWorker)
	}
	if s.Spare {
		add("w", workers+1, lastWorker, RoleSpare)
	}
	return hosts
}

// withRole returns the hosts that have one of the roles.
func withRole(hosts []Host, roles ...Role) []Host {
	var found []Host
	for _, h := range hosts {
		for _, r := range roles {
			if h.Role == r {
				found = append(found, h)
			}
		}
	}
	return found
}
