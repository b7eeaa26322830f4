// Package overlap restarts an API server without a failed request. The API
// server reads most of its arguments only when it starts, and on a cluster
// with one of them a restart in place is 35 to 45 seconds without an API.
//
// The steps, each of them harmless if nothing follows it for hours:
//
//	twin      a second API server on another port, ready, written and read through
//	stand-in  a second lease that keeps the kubernetes endpoints filled: a last
//	          API server that stops cleanly empties them, and every kube-proxy
//	          on another node then refuses
//	redirect  new connections go to the twin, proven from every path
//	          … the real one is changed and restarts; a timer on the node puts
//	          the old manifest back if that fails and nobody is there …
//	back      timer disarmed, redirect removed, then stand-in and twin
//
// When one of these fails, the restart included, the run takes them back at
// once in the reverse order (undo.go): the old manifest first, and nothing
// else before the real one answers again.
//
// A restart that is done is taken back by another one. On that way the undoing
// of what comes after it sets the same up again, for the former arguments
// (wayback.go); then the restart, and what comes before it, are undone as above.
package overlap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	"k8s.io/client-go/rest"
)

// Restart is what an overlap is for.
type Restart struct {
	// Prefix begins the IDs of the steps, "etcd".
	Prefix string
	// Done says whether the API server already runs as wanted, so that there
	// is nothing to overlap.
	Done func(context.Context, phases.View) (bool, error)
	// Flags are the arguments it is to get; the twin has them first.
	Flags func(phases.View) map[string]string
	// Former are the arguments that it had before, for the way back: then the
	// second one has these. The error says why it can't have them again.
	Former func(context.Context, phases.View) (map[string]string, error)
	// Needs are the steps before the first one here.
	Needs []migrate.StepID
}

// TwinID, StandInID and RedirectID are the IDs of the steps before the
// restart.
func (r Restart) id(name string) migrate.StepID { return migrate.StepID(r.Prefix + "/" + name) }

// RedirectID is the last step before the restart.
func (r Restart) RedirectID() migrate.StepID { return r.id("overlap-redirect") }

// Bracket is the name of the bracket that the steps before the restart and the
// restart itself form: they are taken back when one of them fails. The steps
// after it only take things away, and are repeated until they are done.
func (r Restart) Bracket() string { return r.Prefix + "/overlap" }

// twinConfig reaches the twin from its node. Its certificate is the real
// one's, which holds the node's address and not the loopback one.
func twinConfig(ctx context.Context, v phases.View, node string) (*rest.Config, error) {
	return loopbackConfig(ctx, v, node, TwinPort)
}

// loopbackConfig reaches an API server on its node, past the redirect where it
// listens on 127.0.0.1 as well.
func loopbackConfig(ctx context.Context, v phases.View, node string, port int) (*rest.Config, error) {
	cfg, err := v.AdminConfigOn(ctx, node)
	if err != nil {
		return nil, err
	}
	host, err := listens(ctx, v, node)
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(host, strconv.Itoa(port))
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return v.On(node).DialContext(ctx, network, to)
	}
	return cfg, nil
}

// listens is the address at which the API server of a node is reached on that
// node itself: 127.0.0.1, or the one address of --bind-address. The manifest
// says it, since the process may be away for the moment; where the manifest is
// away, the process does. The second API server has the same.
func listens(ctx context.Context, v phases.View, node string) (string, error) {
	file, err := v.APIServerManifest(ctx, node)
	if err == nil {
		m, err := kube.ParseManifest(file.Data)
		if err != nil {
			return "", fmt.Errorf("on %s, %s: %w", node, file.Path, err)
		}
		return listenAddress(m.Flags()), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	p, _, err := v.APIServer(ctx, node)
	if err != nil {
		return "", err
	}
	return listenAddress(p.Flags), nil
}

// listenAddress is where an API server is asked on its own node: at the loopback
// where it listens at every address.
func listenAddress(flags kube.Flags) string {
	bind, _ := flags.Get("bind-address")
	ip := net.ParseIP(bind)
	if ip == nil || flags.ListensEverywhere() {
		return "127.0.0.1"
	}
	return ip.String()
}

// realConfig reaches the real API server of a node, past any redirect.
func realConfig(ctx context.Context, v phases.View, node string) (*rest.Config, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return nil, err
	}
	port, err := front{address: address}.port()
	if err != nil {
		return nil, err
	}
	return loopbackConfig(ctx, v, node, port)
}

// RealReadyz asks the real API server of a node, past any redirect.
func RealReadyz(ctx context.Context, v phases.View, node string) error {
	cfg, err := realConfig(ctx, v, node)
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}

// way is one path that clients take. Connections begin on the host from or,
// with pod, in a pod there; these lead to the Service alone.
type way struct {
	from, address string
	pod           bool
}

func (w way) String() string {
	if w.pod {
		return "from a pod on " + w.from
	}
	return "from " + w.from
}

// dial opens connections along w.
func (w way) dial(v phases.View) kube.Dialer {
	if w.pod {
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return v.DialFromPod(ctx, w.from) }
	}
	return v.On(w.from).DialContext
}

// ways lists them: from the node and the workers to the node's address and to
// the Service, from pods to the Service where there are any of ours, from the
// load balancer to the node's address.
func ways(ctx context.Context, v phases.View, node string) ([]way, error) {
	r, err := wanted(ctx, v, node)
	if err != nil {
		return nil, err
	}
	list := []way{{from: node, address: r.address}, {from: node, address: r.service}}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		list = append(list, way{from: w.Name, address: r.address}, way{from: w.Name, address: r.service})
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list = append(list, way{from: lb.Name, address: r.address})
	}
	for _, pod := range v.PodNodes() {
		list = append(list, way{from: pod, address: r.service, pod: true})
	}
	return list, nil
}

// wanted is the redirect for a node.
func wanted(ctx context.Context, v phases.View, node string) (front, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return front{}, err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return front{}, err
	}
	ip, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return front{}, err
	}
	return front{address: address, service: net.JoinHostPort(ip, "443")}, nil
}

// twinAnswers proves from every path that the twin answers (or, with want
// false, that it does not any more).
func twinAnswers(ctx context.Context, v phases.View, node string, want bool) error {
	cfg, err := twinConfig(ctx, v, node)
	if err != nil {
		return err
	}
	r, err := wanted(ctx, v, node)
	if err != nil {
		return err
	}
	own, err := r.twin()
	if err != nil {
		return err
	}
	tell, twin, err := tellApart(ctx, cfg, own)
	if err != nil {
		return err
	}
	list, err := ways(ctx, v, node)
	if err != nil {
		return err
	}
	return everyWay(list, func(w way) error {
		cfg, err := v.AdminConfigOn(ctx, node)
		if err != nil {
			return err
		}
		cfg.Host = "https://" + w.address
		cfg.Dial = w.dial(v)
		got, err := tell(ctx, cfg)
		if errors.Is(err, phases.ErrNoPod) {
			return nil // the measurement's trouble, and not the clients'
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		if (got == twin) != want {
			return fmt.Errorf("%s, %s is answered by the API server %s, not as it should be", w, w.address, got)
		}
		return nil
	})
}

// everyWay asks along all ways, a few at a time, and joins what went wrong.
func everyWay(list []way, ask func(way) error) error {
	errs := make([]error, len(list))
	tickets := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, w := range list {
		wg.Go(func() {
			tickets <- struct{}{}
			defer func() { <-tickets }()
			errs[i] = ask(w)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// twinReachable opens a connection to the twin's own port along every way: a
// firewall between the hosts may know the API's port only, and behind the
// redirect all clients would find out at once.
func twinReachable(ctx context.Context, v phases.View, node string) error {
	list, err := ways(ctx, v, node)
	if err != nil {
		return err
	}
	r, err := wanted(ctx, v, node)
	if err != nil {
		return err
	}
	twin, err := r.twin()
	if err != nil {
		return err
	}
	return everyWay(list, func(w way) error {
		if w.pod {
			return nil // it is let through to the Service and to nothing else
		}
		if _, err := kube.ServedCertificate(ctx, w.dial(v), twin, nil); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		return nil
	})
}

// twinReady says that the twin's manifest is in place and it answers: a file
// alone serves nobody.
func twinReady(ctx context.Context, v phases.View, node string) (bool, error) {
	there, err := twinThere(ctx, v.On(node))
	if err != nil || !there {
		return false, err
	}
	cfg, err := twinConfig(ctx, v, node)
	if err != nil {
		return false, err
	}
	return kube.Readyz(ctx, cfg) == nil, nil
}

// twinThere says whether the twin's manifest is in place.
func twinThere(ctx context.Context, r remote.Reader) (bool, error) {
	_, err := r.ReadFile(ctx, TwinManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
