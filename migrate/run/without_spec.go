package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// DescribesHost makes the spec of one control-plane node the session's: of a cluster
// of which no spec says anything.
func (s *Session) DescribesHost(ctx context.Context, host cluster.Host) error {
	spec, err := specOfHost(ctx, s, host)
	if err != nil {
		return err
	}
	s.Describes(spec)
	return nil
}

// specOfHost asks the node for what a spec would say of it: the address that
// its API server advertises, and the name that the cluster knows it by.
func specOfHost(ctx context.Context, s *Session, host cluster.Host) (cluster.Spec, error) {
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
