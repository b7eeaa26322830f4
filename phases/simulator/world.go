package simulator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
)

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
func (w *World) Connect() *phases.Access { return phases.NewAccess(w.Spec, w) }

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
	w.parts.due(now)
}
