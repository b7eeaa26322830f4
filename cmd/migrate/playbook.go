package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/run"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/playbooks"

	"github.com/urfave/cli/v2"
)

func playbookCommand() *cli.Command {
	return &cli.Command{
		Name:   "playbook",
		Before: noWords,
		Usage:  "print a phase as instructions for a person, with this cluster's hosts",
		Description: "Made from the same declaration that run carries out. Needs the spec only, no connection.\n" +
			"Workers that the spec does not name are not listed.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag()),
		Action: func(c *cli.Context) error {
			spec, err := run.ReadSpec(specFile(c))
			if err != nil {
				return err
			}
			list, err := phasesFor(spec, c.Int("phase"), strategyOf(c))
			if err != nil {
				return err
			}
			for _, p := range list {
				if err := playbooks.Render(c.App.Writer, p, playbookData(spec)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// playbookData names the hosts of a spec for its playbooks.
func playbookData(spec cluster.Spec) playbooks.Data {
	first := playbooks.Host{Name: spec.ControlPlane.First.Name, Address: spec.ControlPlane.First.Address}
	var servers []string
	for _, h := range spec.Etcd.Hosts {
		servers = append(servers, fmt.Sprintf("https://%s", net.JoinHostPort(h.Address, strconv.Itoa(phases.EtcdClientPort))))
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
			migrate.JoiningControlPlanes: playbookHosts(spec.ControlPlane.Joining),
			migrate.EtcdHosts:            playbookHosts(spec.Etcd.Hosts),
			migrate.LoadBalancers:        playbookHosts(spec.LoadBalancer.Hosts),
			migrate.Workers:              playbookHosts(spec.Workers),
		},
	}
}

func playbookHosts(hosts []cluster.Host) []playbooks.Host {
	var out []playbooks.Host
	for _, h := range hosts {
		out = append(out, playbooks.Host{Name: h.Name, Address: h.Address})
	}
	return out
}
