package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"

	"hamigrate/migrate/kube"
	"hamigrate/phases"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many paths are asked at the same time: ten were to be seen in
// the clients' latencies.
const atOnce = 8

// Front is where clients look for the API server of a node.
type Front struct {
	Address string // host:port of the API server
	Service string // host:port of the kubernetes Service
}

// FrontOf is the one of a node.
func FrontOf(ctx context.Context, v phases.Reader, node string) (Front, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return Front{}, err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return Front{}, err
	}
	ip, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return Front{}, err
	}
	return Front{Address: address, Service: net.JoinHostPort(ip, "443")}, nil
}

// Path is one that clients take. Connections begin on the host From or, with
// Pod, in a pod there; these lead to the Service alone.
type Path struct {
	From, Address string
	Pod           bool
}

func (p Path) String() string {
	if p.Pod {
		return "from a pod on " + p.From
	}
	return "from " + p.From
}

// Dialer opens connections along p.
func (p Path) Dialer(v phases.Reader) kube.Dialer {
	if p.Pod {
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return v.DialFromPod(ctx, p.From) }
	}
	return v.On(p.From).DialContext
}

// Paths lists them: from the node and the workers to the node's address and to
// the Service, from pods to the Service where there are any of ours, from the
// load balancer to the node's address.
func Paths(ctx context.Context, v phases.Reader, node string) ([]Path, error) {
	f, err := FrontOf(ctx, v, node)
	if err != nil {
		return nil, err
	}
	list := []Path{{From: node, Address: f.Address}, {From: node, Address: f.Service}}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		list = append(list, Path{From: w.Name, Address: f.Address}, Path{From: w.Name, Address: f.Service})
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list = append(list, Path{From: lb.Name, Address: f.Address})
	}
	for _, pod := range v.PodNodes() {
		list = append(list, Path{From: pod, Address: f.Service, Pod: true})
	}
	return list, nil
}

// EachPath asks along all paths, a few at a time, and joins what went wrong.
func EachPath(list []Path, ask func(Path) error) error {
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, p := range list {
		group.Go(func() error { errs[i] = ask(p); return nil })
	}
	_ = group.Wait() // all errors are wanted, not the first
	return errors.Join(errs...)
}

// Expect is which API servers may answer on the paths of a node's clients.
type Expect struct {
	// Node is the one whose admin credentials are used.
	Node string
	// Identify reads the identity of who answers.
	Identify Identifier
	// May says whether the API server of this identity may answer on p.
	May func(p Path, identity string) bool
	// ServerName is the name on a path that the certificate has to hold; nil or
	// "": that of the path's address.
	ServerName func(Path) string
}

// OnEach asks along every path who answers. Where no pod is there to ask from,
// the path is passed over: that is the measurement's trouble, and not the
// clients'.
func (e Expect) OnEach(ctx context.Context, v phases.Reader, paths []Path) error {
	return EachPath(paths, func(p Path) error {
		cfg, err := v.AdminConfigOn(ctx, e.Node)
		if err != nil {
			return err
		}
		cfg.Host, cfg.Dial = "https://"+p.Address, p.Dialer(v)
		if e.ServerName != nil {
			if name := e.ServerName(p); name != "" {
				cfg.ServerName = name
			}
		}
		identity, err := e.Identify(ctx, cfg)
		switch {
		case errors.Is(err, phases.ErrNoPod):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", p, err)
		case !e.May(p, identity):
			return fmt.Errorf("%s, %s is answered by the API server %s, not as it should be", p, p.Address, identity)
		}
		return nil
	})
}
