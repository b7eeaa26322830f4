package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
)

// fingerprint digests what a spec means for the cluster. How the operator
// reaches the hosts is left out (another operator may resume a phase from
// another machine, with other keys), and so is the order of the workers.
// binary is etcd.binary as it is written, before ~ was expanded.
func fingerprint(s Spec, binary string) string {
	workers := hostsOnly(s.Workers)
	slices.SortFunc(workers, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	meaning := Spec{
		Name:         s.Name,
		Endpoint:     s.Endpoint,
		LoadBalancer: LoadBalancer{Kind: s.LoadBalancer.Kind, Hosts: hostsOnly(s.LoadBalancer.Hosts)},
		Etcd:         Etcd{Topology: s.Etcd.Topology, Hosts: hostsOnly(s.Etcd.Hosts), Binary: binary},
		ControlPlane: ControlPlane{
			First:   hostOnly(s.ControlPlane.First),
			Joining: hostsOnly(s.ControlPlane.Joining),
			Join:    s.ControlPlane.Join,
		},
		Workers: workers,
	}
	// A Spec is strings, numbers and lists of them, which always encode.
	data, _ := json.Marshal(meaning)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
}

func hostOnly(h Host) Host { return Host{Name: h.Name, Address: h.Address} }

func hostsOnly(hosts []Host) []Host {
	var all []Host
	for _, h := range hosts {
		all = append(all, hostOnly(h))
	}
	return all
}
