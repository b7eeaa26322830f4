package balancer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// ClusterRoots are the cluster's CA certificates.
func ClusterRoots(ctx context.Context, v phases.Reader) (*x509.CertPool, error) {
	ca, err := v.AdminCA(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return roots, nil
}

// ThroughHost goes from the first control-plane node to the API through one host.
func ThroughHost(ctx context.Context, v phases.Reader, lb cluster.Host, roots *x509.CertPool) error {
	address := net.JoinHostPort(lb.Address, strconv.Itoa(v.Spec().Endpoint.Port))
	if _, err := kube.ServedCertificate(ctx, v.On(v.First().Name).DialContext, address, roots); err != nil {
		return fmt.Errorf("reaching the API through %s: %w", lb.Name, err)
	}
	return nil
}

// VerifyEndpoint goes to the endpoint from every node, as its kubelet will: the
// connection is opened on the node, the handshake checked against the cluster's
// CA and the endpoint's name, and a load balancer's host has to be seen to
// carry it. A firewall, a hairpin that does not work, a name that only some
// nodes know or that means a node shows here, before any client is moved.
func VerifyEndpoint(ctx context.Context, v phases.Reader) error {
	nodes, err := NodesNow(ctx, v)
	if err != nil {
		return err
	}
	return parallel.Do(
		func() error { return ThroughHosts(ctx, v) },
		func() error { return Carried(ctx, v, nodes) })
}

// LeadsToAPI goes to the endpoint from every node and wants a certificate of
// the cluster's CA, for whatever name.
func LeadsToAPI(ctx context.Context, v phases.Reader) error {
	roots, err := ClusterRoots(ctx, v)
	if err != nil {
		return err
	}
	nodes, err := nodesBefore(ctx, v)
	if err != nil {
		return err
	}
	return parallel.Each(nodes, func(_ int, node string) error {
		if _, err := kube.ServedBy(ctx, v.On(node).DialContext, v.EndpointAddress(), roots); err != nil {
			return fmt.Errorf("from %s: %w", node, err)
		}
		return nil
	})
}

// nodesBefore are the nodes that are there before any has joined.
func nodesBefore(ctx context.Context, v phases.Reader) ([]string, error) {
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	nodes := []string{v.First().Name}
	for _, w := range workers {
		nodes = append(nodes, w.Name)
	}
	return nodes, nil
}

// NodesNow are nodesBefore and the control-plane nodes that have joined.
func NodesNow(ctx context.Context, v phases.Reader) ([]string, error) {
	names, err := nodesBefore(ctx, v)
	if err != nil {
		return nil, err
	}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range v.Spec().ControlPlane.Joining {
		if n, joined := nodes[h.Name]; joined && kube.Ready(n) {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

// Serves says whether any of some new connections to the endpoint, so many
// from every node, is answered with this certificate. Each API server has one
// of its own, so that tells which one answers. Every connection must be
// answered. A load balancer may choose by the client's address: asking from
// all nodes finds a backend that one of them would never meet.
func Serves(ctx context.Context, v phases.Reader, cert *x509.Certificate, tries int) (bool, error) {
	roots, err := ClusterRoots(ctx, v)
	if err != nil {
		return false, err
	}
	nodes, err := nodesBefore(ctx, v)
	if err != nil {
		return false, err
	}
	met := make([]bool, len(nodes))
	err = parallel.Each(nodes, func(i int, node string) error {
		for range tries {
			got, err := kube.ServedCertificate(ctx, v.On(node).DialContext, v.EndpointAddress(), roots)
			if err != nil {
				return fmt.Errorf("reaching the endpoint from %s: %w", node, err)
			}
			if bytes.Equal(got.Raw, cert.Raw) {
				met[i] = true
				return nil
			}
		}
		return nil
	})
	for _, m := range met {
		if m {
			return true, err
		}
	}
	return false, err
}

// ThroughHosts goes from the first control-plane node to the API through each
// host of the load balancer, by the host's own address and the endpoint's name.
func ThroughHosts(ctx context.Context, v phases.Reader) error {
	roots, err := ClusterRoots(ctx, v)
	if err != nil {
		return err
	}
	return parallel.Each(v.Spec().LoadBalancer.Hosts, func(_ int, lb cluster.Host) error {
		return ThroughHost(ctx, v, lb, roots)
	})
}

// OthersReady wants every API server that has joined to be ready: with the first
// one out they have all the clients.
func OthersReady(ctx context.Context, v phases.Reader) error {
	for _, node := range v.Spec().ControlPlane.Joining {
		cfg, err := v.AdminConfigOn(ctx, node.Name)
		if err != nil {
			return err
		}
		if err := kube.Readyz(ctx, cfg); err != nil {
			return fmt.Errorf("the API server of %s: %w", node.Name, err)
		}
	}
	return nil
}
