package simulator

import (
	"context"
	"maps"
	"path"
	"slices"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/remotetest"
)

// Saved is a World put aside: data without servers or connections, from which
// any number of equal Worlds can be made.
type Saved struct {
	at    time.Time
	spec  cluster.Spec
	world World // its hosts and clusters are copies
	files map[string]remotetest.Tree
}

// Save puts the world aside as it is.
func (w *World) Save() *Saved {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.save()
}

func (w *World) save() *Saved {
	s := &Saved{at: time.Now(), spec: w.Spec, files: map[string]remotetest.Tree{}}
	for name, h := range w.hosts {
		s.files[name] = h.Tree()
	}
	copyWorld(&s.world, w, func(name, address string) *Host { return &Host{world: &s.world, address: address} })
	return s
}

// World makes a World of what was saved, in another synctest bubble: it waits
// until that one's clock is where the saved one's was.
func (s *Saved) World(t testing.TB) *World {
	time.Sleep(time.Until(s.at))
	w := &World{Spec: s.spec, Faults: remotetest.NewFaults(), ctx: t.Context(), listeners: map[end]*listener{}, dirty: true}
	w.assemble()
	copyWorld(w, &s.world, func(name, address string) *Host {
		h := w.newHost(name, address)
		h.Restore(s.files[name])
		return h
	})
	for _, h := range w.hosts {
		for dir := range h.folders { // the empty ones, too
			h.Folder(dir)
		}
	}
	return w
}

// allFolders lists a folder and all below it.
func (h *Host) allFolders(dir string) []string {
	names, err := h.Fake.List(context.Background(), dir)
	if err != nil {
		return nil
	}
	out := []string{dir}
	for _, n := range names {
		out = append(out, h.allFolders(path.Join(dir, n))...)
	}
	return out
}

// copyWorld copies all that lasts but the files; newHost makes a host to copy
// into.
func copyWorld(to, from *World, newHost func(name, address string) *Host) {
	to.hosts, to.memo = map[string]*Host{}, from.memo
	clusters := map[*etcdCluster]*etcdCluster{}
	for _, c := range from.clusters {
		clusters[c] = c.copy()
		to.clusters = append(to.clusters, clusters[c])
	}
	to.objects = &objects{items: map[objectKey]object{}, uids: from.objects.uids}
	for key, obj := range from.objects.items {
		if c, ok := obj.DeepCopyObject().(object); ok {
			to.objects.items[key] = c
		}
	}
	to.shared, to.outages = maps.Clone(from.shared), maps.Clone(from.outages)
	to.pids, to.tokenCount, to.broken = from.pids, from.tokenCount, slices.Clone(from.broken)
	to.signAt, to.proxyAt, to.coreDNSAt, to.watched = from.signAt, from.proxyAt, from.coreDNSAt, from.watched
	to.cuts, to.silent, to.ill, to.illAtStart = maps.Clone(from.cuts), maps.Clone(from.silent), from.ill, from.illAtStart
	to.proxied, to.followAt = slices.Clone(from.proxied), from.followAt
	to.rollOuts, to.proxyServer = slices.Clone(from.rollOuts), from.proxyServer
	for name, h := range from.hosts {
		n := newHost(name, h.address)
		to.hosts[name] = n
		n.copy(h, clusters)
	}
}

func (c *etcdCluster) copy() *etcdCluster {
	n := *c
	n.keys, n.leases, n.members = maps.Clone(c.keys), maps.Clone(c.leases), nil
	for _, m := range c.members {
		m := *m
		n.members = append(n.members, &m)
	}
	return &n
}

// copy takes over what runs on another host.
func (h *Host) copy(from *Host, clusters map[*etcdCluster]*etcdCluster) {
	h.folders, h.users, h.mtimes, h.nat = maps.Clone(from.folders), maps.Clone(from.users), maps.Clone(from.mtimes), maps.Clone(from.nat)
	h.nginx, h.kubelet, h.clients, h.journal = from.nginx, from.kubelet, from.clients, slices.Clone(from.journal)
	h.conntrack, h.haproxy = slices.Clone(from.conntrack), from.haproxy.clone()
	h.hardware = from.hardware.clone()
	h.units, h.procs, h.pods, h.boots = map[string]*unit{}, map[int]*process{}, map[string]*staticPod{}, map[string]*bootedServer{}
	procs := map[*process]*process{}
	for pid, p := range from.procs {
		n := *p
		procs[p], h.procs[pid] = &n, &n
	}
	for name, u := range from.units {
		n := *u
		n.proc = procs[u.proc]
		h.units[name] = &n
	}
	for name, p := range from.pods {
		n := *p
		n.proc = procs[p.proc]
		h.pods[name] = &n
	}
	for key, s := range from.boots {
		if procs[s.proc] == nil {
			continue // it has just ended, see settleEtcd
		}
		n := *s
		n.host, n.proc, n.cluster = h, procs[s.proc], clusters[s.cluster]
		h.boots[key] = &n
	}
}
