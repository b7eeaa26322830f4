package balancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// That the endpoint answers from a node proves little: a name that means the
// first control-plane node there answers as well, until that node stops. So the
// load balancer has to be seen to carry the connection. A few are opened and
// held; the node says from which of its ports they go, and a load balancer's
// host has to have the other ends.

// heldConnections are opened from each node: others may open one or two of
// their own at the same moment.
const heldConnections = 4

// heldAtOnce bounds the connections that all nodes together hold. nginx needs two
// of its worker_connections for each, and where it has none left its clients are
// refused: it has 512 where nothing is said, and this leaves it some.
const heldAtOnce = 240

// meetsWithin bounds a connection with its handshake: packets that nobody answers
// must not hold up those who wait for the whole.
const meetsWithin = 5 * time.Second

// showsWithin bounds the look at one host's connections, for the same reason.
const showsWithin = 30 * time.Second

// Meet opens a connection to the endpoint from a node, and shakes hands.
func Meet(ctx context.Context, v phases.Reader, node string, roots *x509.CertPool) (net.Conn, *x509.Certificate, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, meetsWithin, fmt.Errorf("no answer within %s", meetsWithin))
	defer cancel()
	raw, err := v.On(node).DialContext(ctx, "tcp", v.EndpointAddress())
	if err != nil {
		return nil, nil, fmt.Errorf("reaching the endpoint from %s: %w", node, err)
	}
	session := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: v.Spec().Endpoint.Host, MinVersion: tls.VersionTLS12})
	if err := session.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, fmt.Errorf("reaching the endpoint from %s: %w", node, err)
	}
	return session, session.ConnectionState().PeerCertificates[0], nil
}

// hold opens connections to the endpoint from a node; let go closes them.
func keepConnections(ctx context.Context, v phases.Reader, node string, roots *x509.CertPool, n int) (letGo func(), err error) {
	var conns []net.Conn
	letGo = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for range n {
		conn, _, err := Meet(ctx, v, node, roots)
		if err != nil {
			letGo()
			return nil, err
		}
		conns = append(conns, conn)
	}
	return letGo, nil
}

// socket is an established connection of a host: its own end and the other.
type socket struct{ local, peer string }

// sockets lists those of a host at the endpoint's port: side is sport on a load
// balancer and dport on a client. On a client those of sshd are ours; where
// nobody tells the programs, it is all of them.
func sockets(ctx context.Context, r remote.Reader, side string, port int) (map[socket]bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, showsWithin, fmt.Errorf("no answer within %s", showsWithin))
	defer cancel()
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf("ss -Htnp state established '( %s = :%d )'", side, port)})
	if err != nil {
		return nil, fmt.Errorf("looking at the connections of %s: %w", r.Name(), err)
	}
	list := map[socket]bool{}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 4 || side == "dport" && strings.Contains(line, "users:((") && !strings.Contains(line, `"sshd`) {
			continue
		}
		list[socket{plain(words[2]), plain(words[3])}] = true
	}
	return list, nil
}

// plain is an address as ss prints it, without the form that IPv4 has in an
// IPv6 socket and without the device.
func plain(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	host, _, _ = strings.Cut(host, "%")
	return net.JoinHostPort(strings.TrimPrefix(host, "::ffff:"), port)
}

// carriage is what was seen of connections that were held.
type carriage struct {
	before, held []map[socket]bool // of the nodes, in their order
	failed       []error           // of those that can't be looked at, or do not reach the endpoint
	// balanced are the ends on all load balancers' hosts.
	balancedBefore, balanced map[socket]bool
}

// lookAtCarriage opens connections from all nodes, and looks at both sides while they
// are held.
func lookAtCarriage(ctx context.Context, v phases.Reader, nodes []string, roots *x509.CertPool) (carriage, error) {
	c := carriage{before: make([]map[socket]bool, len(nodes)), held: make([]map[socket]bool, len(nodes)), failed: make([]error, len(nodes))}
	// What one node can't do is no matter of the others.
	each := func(do func(i int, node string) error) {
		_ = parallel.Each(nodes, func(i int, node string) error {
			if c.failed[i] == nil {
				c.failed[i] = do(i, node)
			}
			return nil
		})
	}
	port := v.Spec().Endpoint.Port
	look := func(into []map[socket]bool) {
		each(func(i int, node string) (err error) {
			into[i], err = sockets(ctx, v.On(node), "dport", port)
			return err
		})
	}
	err := parallel.Do(
		func() error { look(c.before); return nil },
		func() (err error) { c.balancedBefore, err = balancedSockets(ctx, v); return err })
	if err != nil {
		return carriage{}, err
	}
	letGo := make([]func(), len(nodes))
	defer func() {
		for _, f := range letGo {
			if f != nil {
				f()
			}
		}
	}()
	each(func(i int, node string) (err error) {
		letGo[i], err = keepConnections(ctx, v, node, roots, heldConnections)
		return err
	})
	err = parallel.Do(
		func() error { look(c.held); return nil },
		func() (err error) { c.balanced, err = balancedSockets(ctx, v); return err })
	return c, err
}

func balancedSockets(ctx context.Context, v phases.Reader) (map[socket]bool, error) {
	hosts := v.Spec().LoadBalancer.Hosts
	each := make([]map[socket]bool, len(hosts))
	err := parallel.Each(hosts, func(i int, lb cluster.Host) (err error) {
		each[i], err = sockets(ctx, v.On(lb.Name), "sport", v.Spec().Endpoint.Port)
		return err
	})
	all := map[socket]bool{}
	for _, m := range each {
		for s := range m {
			all[s] = true
		}
	}
	return all, err
}

// fresh are those of a node that were opened meanwhile, by the address that
// they lead to.
func (c carriage) fresh(i int) map[string][]socket {
	out := map[string][]socket{}
	for s := range c.held[i] {
		if host, _, err := net.SplitHostPort(s.peer); err == nil && !c.before[i][s] {
			out[host] = append(out[host], s)
		}
	}
	return out
}

// led is where the connections of a node led to: as many of the new ones as
// were opened go there.
func (c carriage) led(i int) []string {
	var out []string
	for host, list := range c.fresh(i) {
		if len(list) >= heldConnections {
			out = append(out, host)
		}
	}
	if len(out) == 0 { // by turns to several addresses
		for host := range c.fresh(i) {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return out
}

// seen says whether load balancers' hosts have the other ends of as many
// connections as were opened: by address and port, or, where something between
// translates addresses and keeps ports, by the port of a new one.
func (c carriage) seen(i int) bool {
	ends, ports := map[string]bool{}, map[string]bool{}
	for s := range c.balanced {
		ends[s.peer] = true
		if _, port, err := net.SplitHostPort(s.peer); err == nil && !c.balancedBefore[s] {
			ports[port] = true
		}
	}
	exact, byPort := 0, 0
	for _, list := range c.fresh(i) {
		for _, s := range list {
			if ends[s.local] {
				exact++
			}
			if _, port, err := net.SplitHostPort(s.local); err == nil && ports[port] {
				byPort++
			}
		}
	}
	return exact >= heldConnections || byPort >= heldConnections
}

// AstrayError is an endpoint that does not lead through the load balancer.
type AstrayError struct{ text string }

func (e AstrayError) Error() string { return e.text }

// Carried wants connections to the endpoint from each of these nodes to be
// carried by a load balancer's host. An external load balancer has none that
// can be looked at; there the endpoint must at least lead to no node.
func Carried(ctx context.Context, v phases.Reader, nodes []string) error {
	release, err := v.Alone(ctx)
	if err != nil {
		return fmt.Errorf("waiting for another look at connections to %s: %w", v.EndpointAddress(), err)
	}
	defer release()
	each, err := carriedEach(ctx, v, nodes, false)
	if err != nil {
		return err
	}
	// A node that does not reach the endpoint at all comes first: it may be on
	// its way to be one that does, by the right way.
	for _, err := range each {
		if failed(err) && !errors.As(err, new(AstrayError)) {
			return err
		}
	}
	for _, err := range each {
		if failed(err) {
			return err
		}
	}
	return nil
}

// CarriedHere is Carried from the target alone, for checks that are done on every
// node: those that ask at the same time are looked at together. An error that is
// phases.ErrNotLooked is no verdict.
func CarriedHere(ctx context.Context, v phases.Reader) error {
	return v.Together(ctx, func(ctx context.Context, nodes []string) ([]error, error) {
		return carriedEach(ctx, v, nodes, true)
	})
}

// UnreachedError is why connections from a node do not reach the endpoint.
type UnreachedError struct{ Err error }

func (e UnreachedError) Error() string { return e.Err.Error() }

func (e UnreachedError) Unwrap() error { return e.Err }

// CarriedFrom says whether a load balancer carries connections from one node. The
// verdict is nil where one does, NotRisenError where none does, UnreachedError
// where the endpoint does not answer, and any other error where it is not known.
// err is that it could not be looked at. The caller has to be alone (Reader.Alone).
func CarriedFrom(ctx context.Context, v phases.Reader, node string) (verdict, err error) {
	roots, err := ClusterRoots(ctx, v)
	if err != nil {
		return nil, err
	}
	c, err := lookAtCarriage(ctx, v, []string{node}, roots)
	switch {
	case err != nil:
		return nil, err
	case c.failed[0] != nil:
		return UnreachedError{c.failed[0]}, nil
	case c.seen(0):
		return nil, nil
	}
	return counted(ctx, v, []string{node}, roots, true)[0], nil
}

// CarriedLimit is for a check that does CarriedHere: on a hundred nodes others
// are counted before it, some seconds for each twenty.
const CarriedLimit = 5 * time.Minute

// carriedEach is Carried with an error for each node, nil where all is well. It
// has to be alone. Without every, connections are counted only where nothing else
// is wrong, until the first node whose are missing.
func carriedEach(ctx context.Context, v phases.Reader, nodes []string, every bool) ([]error, error) {
	roots, err := ClusterRoots(ctx, v)
	if err != nil {
		return nil, err
	}
	people, err := NodesAt(ctx, v)
	if err != nil {
		return nil, err
	}
	var each []error
	var unseen, ledTo []string
	var places []int // of the unseen
	for group := range slices.Chunk(nodes, heldAtOnce/heldConnections) {
		c, err := lookAtCarriage(ctx, v, group, roots)
		if err != nil {
			return nil, err
		}
		for i, node := range group {
			err := c.failed[i]
			if err == nil {
				err = c.astray(v, i, node, people)
			}
			if err == nil && len(v.Spec().LoadBalancer.Hosts) > 0 && !c.seen(i) {
				unseen, ledTo, places = append(unseen, node), append(ledTo, strings.Join(c.led(i), ", ")), append(places, len(each))
			}
			each = append(each, err)
		}
	}
	if !every && slices.ContainsFunc(each, failed) {
		return each, nil
	}
	for i, err := range counted(ctx, v, unseen, roots, every) {
		if err != nil {
			each[places[i]] = fmt.Errorf("connections from %s to %s, which go to %s, are not seen on %s: %w",
				unseen[i], v.EndpointAddress(), ledTo[i], strings.Join(balancerNames(v), ", "), err)
		}
	}
	return each, nil
}

// astray says where a node's connections go that must not go there.
func (c carriage) astray(v phases.Reader, i int, node string, people map[string]string) error {
	for _, host := range c.led(i) {
		if who := people[host]; who != "" {
			return AstrayError{fmt.Sprintf("from %s, connections to %s go straight to %s, which is %s, and not through a load balancer", node, v.EndpointAddress(), host, who)}
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			return AstrayError{fmt.Sprintf("from %s, connections to %s stay on %s itself (%s), and do not go through a load balancer", node, v.EndpointAddress(), node, host)}
		}
	}
	return nil
}

func balancerNames(v phases.Reader) []string {
	var out []string
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		out = append(out, lb.Name)
	}
	return out
}

// NodesAt are the nodes' names by their addresses, those of the load balancers'
// hosts left out.
func NodesAt(ctx context.Context, v phases.Reader) (map[string]string, error) {
	out := map[string]string{}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for name, n := range nodes {
		for _, a := range n.Status.Addresses {
			out[a.Address] = name
		}
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range slices.Concat([]cluster.Host{v.First()}, v.Spec().ControlPlane.Joining, workers) {
		out[h.Address] = h.Name
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		delete(out, lb.Address)
	}
	return out, nil
}
