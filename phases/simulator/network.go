package simulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc/test/bufconn"
)

// serviceIP is the kubernetes Service's.
const serviceIP = "10.96.0.1"

// route finds what answers at address (host:port) when h dials it. It needs
// w.mu held. errRefused means that nothing does.
func (w *World) route(h *Host, address string) (route, error) {
	name, portText, err := net.SplitHostPort(address)
	if err != nil {
		return route{}, err
	}
	ip, portText := w.translate(h, h.resolve(name), portText)
	port, err := strconv.Atoi(portText)
	if err != nil {
		return route{}, err
	}
	if ip == w.balancer && w.backends != nil {
		return w.parts.balancer()
	}
	at := w.byAddress(ip)
	if ip == "127.0.0.1" {
		at = h
	}
	if at == nil || !w.between(h, at) {
		return route{}, errRefused
	}
	for _, find := range w.parts.routes {
		if r, ok := find(at, ip, port); ok {
			return r, nil
		}
	}
	return route{}, errRefused
}

// translate does what the nat rules on the way do with a new connection: the
// dialing host's own first, then kube-proxy's, then those of the host it
// arrives at.
func (w *World) translate(h *Host, ip, port string) (string, string) {
	own, ownPort := h.dnat(ip, port)
	if own+ownPort != ip+port {
		return own, ownPort
	}
	if ip == serviceIP && port == "443" {
		to := w.parts.service()
		if to == "" {
			return "", "0"
		}
		ip, port, _ = strings.Cut(to, ":")
	}
	if at := w.byAddress(ip); at != nil && at != h {
		return at.dnat(ip, port)
	}
	return ip, port
}

// heldConn is a connection through a load balancer, which counts it for as
// long as it is open.
type heldConn struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *heldConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}

// hold counts a connection through a load balancer.
func (w *World) hold(conn net.Conn, host string, by int) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		w.held = map[string]int{}
	}
	w.held[host] += by
	if conn == nil {
		return nil
	}
	return &heldConn{Conn: conn, release: func() { w.hold(nil, host, -1) }}
}

// connect opens a connection from h.
func (w *World) connect(ctx context.Context, h *Host, address string) (net.Conn, error) {
	w.mu.Lock()
	r, err := w.route(h, address)
	if err != nil {
		silent := w.silentTo(h, address)
		w.mu.Unlock()
		if silent {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if w.full(r.by) {
		w.mu.Unlock()
		return nil, errors.New("connection reset by peer")
	}
	l := w.listener(r)
	w.mu.Unlock()
	conn, err := l.DialContext(ctx)
	if err == nil && r.balanced {
		conn = w.hold(conn, r.host.Name(), 1)
	}
	if err == nil {
		conn = w.track(conn, h, address, r.by)
	}
	return conn, err
}

// silentTo says whether the packets to an address get no answer at all.
func (w *World) silentTo(h *Host, address string) bool {
	name, _, err := net.SplitHostPort(address)
	at := w.byAddress(h.resolve(name))
	return err == nil && at != nil && w.silent[pairOf(h.Name(), at.Name())]
}

// DialContext implements remote.Reader: what listens there decides.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := errors.Join(context.Cause(ctx), h.Faults.Alive()); err != nil {
		return nil, err
	}
	h.world.settle()
	conn, err := h.world.connect(ctx, h, address)
	if errors.Is(err, errRefused) {
		return nil, fmt.Errorf("dialing %s from %s: %w", address, h.Name(),
			&net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED})
	}
	return conn, err
}

// dnat is what a host's rules make of a new connection.
func (h *Host) dnat(ip, port string) (string, string) {
	for _, table := range h.nat {
		if to, ok := table.rules[net.JoinHostPort(ip, port)]; ok {
			ip, port, _ = strings.Cut(to, ":")
			return ip, port
		}
	}
	return ip, port
}

// between says whether a connection from one machine to another is possible.
func (w *World) between(a, b *Host) bool {
	return !w.cuts[pairOf(a.Name(), b.Name())]
}

func pairOf(a, b string) [2]string {
	names := [2]string{a, b}
	slices.Sort(names[:])
	return names
}

// track notes a connection until it is closed.
func (w *World) track(conn net.Conn, from *Host, address string, by *Host) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return conn
	}
	w.ports++
	n := 32768 + w.ports%28000
	s := &openSocket{from: from, by: by, peer: net.JoinHostPort(from.resolve(name), port),
		local: fmt.Sprintf("%s:%d", from.address, n)}
	if s.translated = s.local; from.hardware.Behind != "" {
		s.translated = fmt.Sprintf("%s:%d", from.hardware.Behind, 1024+w.ports%30000)
	}
	if w.open == nil {
		w.open = map[*openSocket]bool{}
	}
	w.open[s] = true
	return &heldConn{Conn: conn, release: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, s)
	}}
}

// full says whether nginx on a load balancer's machine has no connections left
// for one more client, who takes two: it accepts and closes.
func (w *World) full(by *Host) bool {
	if by != nil && by.haproxyActive() {
		return false // it has as many as files may be open
	}
	n := 0
	for s := range w.open {
		if by != nil && s.by == by {
			n += 2
		}
	}
	return by != nil && n+2 > by.nginx.most
}

// resolve turns a name into an address as the host's resolver does.
func (h *Host) resolve(name string) string {
	if strings.Trim(name, "0123456789.") == "" {
		return name
	}
	for line := range strings.Lines(h.read("/etc/hosts")) {
		if words := strings.Fields(line); len(words) > 1 && words[1] == name {
			return words[0]
		}
	}
	return ""
}

// listener returns the listener at the end of a route; its server starts with
// the first connection.
func (w *World) listener(r route) *listener {
	at := end{r.kind, r.host.Name(), r.port}
	if l := w.listeners[at]; l != nil {
		return l
	}
	l := &listener{Listener: bufconn.Listen(16 << 10)}
	w.listeners[at] = l
	w.parts.serve(l, r)
	return l
}
