package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/run"
	"hamigrate/phases"

	"github.com/urfave/cli/v2"
)

// hostSession is a session on a cluster of which no spec says anything but one
// control-plane node, as [USER@]HOST[:PORT].
func hostSession(c *cli.Context, word string) (*run.Session, error) {
	host, err := cluster.ParseHost(word)
	if err != nil {
		return nil, err
	}
	log, err := logger(c)
	if err != nil {
		return nil, err
	}
	ssh := sshOptions(c, log)
	ssh.NoSpec = true
	s := run.WithoutSpec(run.SessionOptions{Tool: version, Log: log, SSH: ssh})
	spec, err := specOfHost(c.Context, s, host)
	if err != nil {
		return nil, errors.Join(err, s.Pool.Close())
	}
	s.Describes(spec)
	return s, nil
}

// specOfHost asks the node for what a spec would say of it: the address that
// its API server advertises, and the name that the cluster knows it by.
func specOfHost(ctx context.Context, s *run.Session, host cluster.Host) (cluster.Spec, error) {
	h, err := s.Pool.Host(ctx, host)
	if err != nil {
		return cluster.Spec{}, err
	}
	file, err := h.ReadFile(ctx, phases.APIServerManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return cluster.Spec{}, fmt.Errorf("%s has no %s: it is no control-plane node of kubeadm's; name one that is", host.Name, phases.APIServerManifest)
	}
	if err != nil {
		return cluster.Spec{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return cluster.Spec{}, fmt.Errorf("on %s, %s: %w", host.Name, file.Path, err)
	}
	if address, ok := m.Flags().Get("advertise-address"); ok {
		host.Address = address
	}
	spec := cluster.Spec{Name: host.Name, SSH: cluster.SSH{User: host.SSH.User}, ControlPlane: cluster.ControlPlane{First: host}}
	s.Describes(spec)
	nodes, err := s.Access.Reader(migrate.ClusterTarget).Nodes(ctx)
	if err != nil {
		return cluster.Spec{}, err
	}
	for name, n := range nodes {
		if kube.InternalIP(n) == host.Address {
			spec.ControlPlane.First.Name = name
		}
	}
	return spec, nil
}
