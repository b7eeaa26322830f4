package simulator

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/test/bufconn"
)

var errRefused = errors.New("connection refused")

// kind is what listens at the end of a route.
type kind int

const (
	apiServer kind = iota
	etcdClient
	etcdPeer
	website
	transient
)

// route is where a connection ends.
type route struct {
	kind    kind
	host    *Host
	port    string
	pod     *staticPod    // of an API server's route
	boot    *bootedServer // of an etcd route
	relayed bool
	// balanced: a load balancer chose it, and by is its machine, nil for
	// somebody else's.
	balanced bool
	by       *Host
}

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
		return w.routeBalancer()
	}
	at := w.byAddress(ip)
	if ip == "127.0.0.1" {
		at = h
	}
	if at == nil || !w.between(h, at) {
		return route{}, errRefused
	}
	for _, find := range []func(*Host, string, int) (route, bool){w.routeAPI, w.routeEtcd, w.routeRelay, w.routeNginx, w.routeTransient} {
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
		to := w.serviceAddress()
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

func (w *World) routeAPI(at *Host, ip string, port int) (route, bool) {
	pod := at.apiServer(strconv.Itoa(port))
	return route{kind: apiServer, host: at, port: strconv.Itoa(port), pod: pod}, pod != nil && !pod.deaf() && pod.listensAt(ip)
}

// listensAt: with a --bind-address it listens there and nowhere else.
func (pod *staticPod) listensAt(ip string) bool {
	bind := net.ParseIP(pod.proc.flags["bind-address"])
	return bind == nil || bind.IsUnspecified() || bind.Equal(net.ParseIP(ip))
}

func (w *World) routeEtcd(at *Host, ip string, port int) (route, bool) {
	for _, s := range at.boots {
		if at.procs[s.proc.pid] == nil {
			continue // it has just ended
		}
		for flag, k := range map[string]kind{"listen-client-urls": etcdClient, "listen-peer-urls": etcdPeer} {
			for listen := range strings.SplitSeq(s.flags[flag], ",") {
				u, err := url.Parse(listen)
				if err == nil && u.Host == net.JoinHostPort(ip, strconv.Itoa(port)) {
					return route{kind: k, host: at, boot: s}, true
				}
			}
		}
	}
	return route{}, false
}

// routeRelay follows a socket unit to where its service leads.
func (w *World) routeRelay(at *Host, ip string, port int) (route, bool) {
	if name := at.socket(net.JoinHostPort(ip, strconv.Itoa(port))); name != "" {
		service := at.units[strings.TrimSuffix(name, ".socket")+".service"]
		if service == nil {
			service = &unit{text: at.read(adminUnits + "/" + strings.TrimSuffix(name, ".socket") + ".service")}
		}
		for _, exec := range option(service.text, "Service", "ExecStart") {
			words := strings.FieldsFunc(exec, func(r rune) bool { return strings.ContainsRune(" ;'\"", r) })
			i := slices.IndexFunc(words, func(s string) bool { return strings.HasPrefix(s, "127.0.0.1:") })
			if i < 0 {
				continue
			}
			r, err := w.route(at, words[i])
			r.relayed = true
			return r, err == nil
		}
	}
	return route{}, false
}

// socket names the socket unit that listens on host:port, "" for none.
func (h *Host) socket(address string) string {
	for name, u := range h.units {
		if u.state == "active" && slices.Contains(option(u.text, "Socket", "ListenStream"), address) {
			return name
		}
	}
	return ""
}

// routeNginx takes the backend with the fewest connections that are open: the
// first of them that answers.
func (w *World) routeNginx(at *Host, _ string, port int) (route, bool) {
	if !at.nginxActive() {
		return route{}, false
	}
	if slices.Contains(at.nginx.http, port) {
		return route{kind: website, host: at}, true
	}
	var best route
	fewest := -1
	for _, backend := range at.nginx.streams[port] {
		r, err := w.route(at, backend)
		if err != nil {
			continue
		}
		if n := w.held[r.host.Name()]; fewest < 0 || n < fewest {
			best, fewest = r, n
		}
	}
	best.balanced, best.by = true, at
	return best, fewest >= 0
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

// routeBalancer takes the next backend that answers: in turn, as many load
// balancers do.
func (w *World) routeBalancer() (route, error) {
	for range w.backends {
		w.turn++
		host, port, _ := strings.Cut(w.backends[w.turn%len(w.backends)], ":")
		at := w.byAddress(host)
		if at == nil {
			continue
		}
		host, port = at.dnat(host, port)
		number, err := strconv.Atoi(port)
		if at = w.byAddress(host); err != nil || at == nil {
			continue
		}
		if r, ok := w.routeAPI(at, host, number); ok {
			return r, nil
		}
	}
	return route{}, errRefused
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

// end is one listener of one host.
type end struct {
	kind kind
	host string
	port string // of an API server
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
	switch r.kind {
	case apiServer:
		w.serveAPI(l, r.host, r.port)
	case etcdClient:
		w.serveEtcd(l, r.host)
	case etcdPeer:
		w.servePeer(l, r.host)
	case transient:
		w.serveNothing(l)
	case website:
		w.closers = append(w.closers, func() { l.Close() })
	}
	return l
}

// listener knows its connections: they end with the process.
type listener struct {
	*bufconn.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// cut ends the connections to what a process of h listened on.
func (h *Host) cut(kinds []kind, port string) {
	for at, l := range h.world.listeners {
		if at.host == h.Name() && at.port == port && slices.Contains(kinds, at.kind) {
			l.cut()
		}
	}
}
