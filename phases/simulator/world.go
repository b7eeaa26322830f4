package simulator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
)

// World is the cluster with its machines. Make it inside a synctest bubble
// and Close it before the bubble ends.
type World struct {
	// Spec is what the operator wrote.
	Spec cluster.Spec
	// Faults counts every change that the operator's program makes.
	Faults *remotetest.Faults
	// Watch is told of every instant at which the operator's program may die:
	// before and after each of its operations, and between the parts of a
	// command that has parts. Nil: nobody is told.
	Watch func(Point)

	// OnlyLook: the operator's logins may only look.
	OnlyLook bool

	memo   *memo
	hosts  map[string]*Host // fixed once the world is built
	sorted []*Host

	mu         sync.Mutex // guards what follows, and the hosts
	ctx        context.Context
	clusters   []*etcdCluster
	objects    *objects
	shared     map[string]string // what all API servers must have the same of
	listeners  map[end]*listener
	held       map[string]int // open connections through load balancers, by the host they lead to
	ports      int            // of connections that were opened
	open       map[*openSocket]bool
	closers    []func()
	pids       int
	tokenCount int
	broken     []string
	forbidden  []string           // to bootstrap tokens, see Forbid
	cuts       map[[2]string]bool // pairs of machines with nothing between
	silent     map[[2]string]bool // see Silence
	backends   []string           // of the external load balancer; nil: there is none
	balancer   string             // its address
	turn       int                // how many connections it has passed on
	ill        func(flags map[string]string) bool
	illAtStart bool

	signAt, proxyAt, coreDNSAt time.Time
	rollOuts                   []string
	proxyServer                string   // what the running kube-proxies use
	proxied                    []string // where they send the Service's connections
	followAt                   time.Time

	settled time.Time // when settle last worked
	dirty   bool      // something has changed since
	watched time.Time // until when Outages are counted
	outages map[string]time.Duration
}

// Host implements phases.Hosts.
func (w *World) Host(_ context.Context, h cluster.Host) (remote.Host, error) {
	if err := w.Faults.Alive(); err != nil {
		return nil, err
	}
	host := w.hosts[h.Name]
	if host == nil || host.address != h.Address {
		return nil, fmt.Errorf("connecting to %s (%s): no route to host", h.Name, h.Address)
	}
	return host, nil
}

// Lost is how many connections of the operator's program were cut.
func (w *World) Lost() int { return w.Faults.Lost() }

// Machine returns a host by name, for tests that arrange or look at it.
func (w *World) Machine(name string) *Host { return w.hosts[name] }

// Connect is the operator's program as it starts: it knows nothing yet.
func (w *World) Connect() *phases.World { return phases.NewWorld(w.Spec, w) }

// Close ends the servers.
func (w *World) Close() {
	w.mu.Lock()
	closers := w.closers
	w.mu.Unlock()
	for _, c := range closers {
		c()
	}
}

// Pass lets time go by, nobody looking.
func (w *World) Pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		left := time.Until(end)
		w.settle()
		time.Sleep(min(left, max(time.Second, (d-left)/20)))
	}
	w.settle()
}

// Broken lists what happened and never may: two clusters, an API server with
// another key, a removed leader, …
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

// Outages says for how long clients on w1 had no API, by the address they
// use: "old address", "service", and "endpoint" from its first answer on.
func (w *World) Outages() map[string]time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]time.Duration{}
	for k, v := range w.outages {
		out[k] = v
	}
	return out
}

func (w *World) never(format string, args ...any) {
	if what := fmt.Sprintf(format, args...); !slices.Contains(w.broken, what) {
		w.broken = append(w.broken, what)
	}
}

// must is for mistakes of the fake itself.
func (w *World) must(err error) {
	if err != nil {
		panic(err)
	}
}

// all lists the hosts by name.
func (w *World) all() []*Host {
	if len(w.sorted) != len(w.hosts) {
		w.sorted = slices.SortedFunc(maps.Values(w.hosts), func(a, b *Host) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return w.sorted
}

func (w *World) byAddress(ip string) *Host {
	for _, h := range w.hosts {
		if h.address == ip {
			return h
		}
	}
	for _, h := range w.hosts {
		if slices.Contains(h.hardware.Addresses, ip) || slices.Contains(h.hardware.Outside, ip) {
			return h
		}
	}
	return nil
}

// Point is an instant at which the operator's program may die.
type Point struct {
	Op    string
	When  remotetest.When
	World *Saved
}

// point is called around every operation of the operator's on a host.
func (w *World) point(op string, when remotetest.When) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lockedPoint(op, when)
}

func (w *World) lockedPoint(op string, when remotetest.When) {
	w.dirty = true
	if w.Watch != nil && w.Faults.Alive() == nil {
		w.Watch(Point{op, when, w.save()})
	}
}

// do is an operation that is not on a host. It needs w.mu held.
func (w *World) do(op string, effect func() error) error {
	w.lockedPoint(op, remotetest.Before)
	err := w.Faults.Do(op, effect)
	w.lockedPoint(op, remotetest.After)
	return err
}

// settle brings the world to the present. Nothing happens while the
// operator's program is dead: the world is looked at through it.
func (w *World) settle() {
	if w.Faults.Alive() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.dirty && now.Equal(w.settled) {
		return
	}
	w.dirty, w.settled = false, now
	for _, h := range w.all() {
		if u := h.units["etcd.service"]; u != nil && !u.retryAt.IsZero() && !now.Before(u.retryAt) {
			w.startMember(h, u)
		}
		h.settleTimers(now)
		h.settlePods(now)
		h.settleServing(now)
	}
	w.settleMirrors()
	w.settleEtcd(now)
	w.settleLeases()
	for _, h := range w.all() {
		h.settleKubelet(now)
		h.settleDead(now)
	}
	w.settleControllers(now)
	w.settleProxies(now)
	w.settleOutages(now)
}

// settleOutages counts the time since the last look as out where there is no
// answer now.
func (w *World) settleOutages(now time.Time) {
	from := w.hosts["w1"]
	if from == nil {
		return // a world of bare machines
	}
	for name, address := range map[string]string{
		"old address": w.Spec.ControlPlane.First.Address + ":6443",
		"service":     serviceIP + ":443",
		"endpoint":    fmt.Sprintf("%s:%d", w.Spec.Endpoint.Host, w.Spec.Endpoint.Port),
	} {
		err := w.reach(from, "https://"+address)
		if _, known := w.outages[name]; !known && err == nil {
			w.outages[name] = 0
		} else if known && err != nil {
			w.outages[name] += now.Sub(w.watched)
		}
	}
	if err := w.everyEndpoint(from); err != nil {
		w.outages["each endpoint of the service"] += now.Sub(w.watched)
	}
	w.watched = now
}
