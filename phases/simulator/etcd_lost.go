package simulator

import (
	"net/url"
	"strings"
	"time"
)

// What a restart of etcd does to an API server, and the other way round.

// hasEtcd says whether a member that an API server lists takes connections.
func (w *World) hasEtcd(h *Host, pod *staticPod) bool {
	for server := range strings.SplitSeq(pod.proc.flags["etcd-servers"], ",") {
		u, err := url.Parse(server)
		if err != nil {
			continue
		}
		if r, err := w.route(h, u.Host); err == nil && r.kind == etcdClient {
			return true
		}
	}
	return false
}

// settleReconnect keeps what gRPC's back-off costs: an API server that has
// lost its etcd tries again after 1, 1.6, 2.6, … seconds, so one that was away
// for 50 s is found 20 s after it is back (google.golang.org/grpc/backoff:
// DefaultConfig; the jitter is left out).
func (h *Host) settleReconnect(now time.Time) {
	for _, pod := range h.apiServers() {
		has := h.world.hasEtcd(h, pod)
		switch {
		case !has && pod.lost.IsZero():
			pod.lost = now
		case has && !pod.lost.IsZero():
			try := pod.lost
			for wait := time.Second; try.Before(now); wait = min(wait*8/5, 2*time.Minute) {
				try = try.Add(wait)
			}
			if try.After(pod.ready) {
				pod.ready = try
			}
			pod.lost = time.Time{}
		}
	}
}

// apiHangs says whether the kubelet's API server runs and has no etcd.
func (h *Host) apiHangs() bool {
	u, err := url.Parse(h.kubelet.server)
	if err != nil || u.Host == "" {
		return false
	}
	r, err := h.world.route(h, u.Host)
	return err == nil && r.kind == apiServer && !h.world.hasEtcd(r.host, r.pod)
}

// neverNeeded: a voter that its cluster can't spare must not be stopped. One
// that is alone takes nobody's vote with it.
func (h *Host) neverNeeded(key string) {
	s := h.boots[key]
	if s == nil {
		return
	}
	m := s.cluster.find(s.member)
	if voters := len(s.cluster.voters()); m != nil && !m.learner && voters > 1 && h.world.connectedSince(s.cluster, 0)-1 <= voters/2 {
		h.world.never("%s was stopped while it was one of %d voters", m.name, voters)
	}
}
