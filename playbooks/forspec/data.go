// Package forspec fills the playbooks with the hosts and the choices of a spec.
package forspec

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/phases/balancers"
	"hamigrate/playbooks"
)

// Data is what the playbooks of a spec are filled with: its hosts and its choices.
func Data(spec cluster.Spec) playbooks.Data {
	first := playbooks.Host{Name: spec.ControlPlane.First.Name, Address: spec.ControlPlane.First.Address}
	var servers []string
	for _, h := range spec.Etcd.Hosts {
		servers = append(servers, fmt.Sprintf("https://%s", net.JoinHostPort(h.Address, strconv.Itoa(etcdflags.EtcdClientPort))))
	}
	return playbooks.Data{
		Cluster:     spec.Name,
		Endpoint:    net.JoinHostPort(spec.Endpoint.Host, strconv.Itoa(spec.Endpoint.Port)),
		First:       first,
		EtcdServers: strings.Join(servers, ","),
		Parts:       balancers.Of(spec).ByHand(spec).Parts(),
		Balancer:    spec.LoadBalancer.Kind,
		Topology:    spec.Etcd.Topology,
		EtcdBinary:  spec.Etcd.Binary,
		Patches:     spec.ControlPlane.Join.Patches,
		Ignored:     strings.Join(spec.ControlPlane.Join.IgnorePreflightErrors, ","),
		Ways:        waysTo(spec),
		Targets: map[migrate.Selector][]playbooks.Host{
			migrate.FirstControlPlane:    {first},
			migrate.JoiningControlPlanes: hostsOf(spec.ControlPlane.Joining),
			migrate.EtcdHosts:            hostsOf(spec.Etcd.Hosts),
			migrate.LoadBalancers:        hostsOf(spec.LoadBalancer.Hosts),
			migrate.Workers:              hostsOf(spec.Workers),
		},
	}
}

func hostsOf(hosts []cluster.Host) []playbooks.Host {
	var out []playbooks.Host
	for _, h := range hosts {
		out = append(out, playbooks.Host{Name: h.Name, Address: h.Address})
	}
	return out
}
