package simulator

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How long things take.
const (
	catchUp    = 2 * time.Second // of a learner
	election   = 1500 * time.Millisecond
	healthTime = 5 * time.Second // etcd: HealthInterval in server/etcdserver/server.go
)

// The membership calls, with the refusals of server/etcdserver/server.go.

// settleEtcd holds elections and ends the processes of removed members.
func (w *World) settleEtcd(now time.Time) {
	for _, h := range w.all() {
		h.settleReconnect(now)
		for key, s := range h.boots {
			if h.procs[s.proc.pid] == nil {
				delete(h.boots, key)
				continue
			}
			gone := s.cluster.find(s.member) == nil
			switch {
			case gone && s.removed.IsZero():
				s.removed = now.Add(time.Second)
			case gone && !now.Before(s.removed):
				h.stop(s.proc)
				delete(h.boots, key)
				h.memberExited(key)
			}
		}
	}
	w.settleCatchingUp(now)
	for _, c := range w.clusters {
		maps.DeleteFunc(c.keys, func(_ string, k key) bool { return !k.until.IsZero() && !now.Before(k.until) })
		if c.leader != 0 && c.find(c.leader) != nil && w.server(c, c.leader) != nil {
			continue
		}
		if c.leader != 0 {
			c.leader, c.votingAt = 0, now.Add(election)
		}
		if now.Before(c.votingAt) || !w.quorum(c) {
			continue
		}
		for _, m := range c.voters() {
			if w.server(c, m.id) != nil {
				c.leader = m.id
				break
			}
		}
	}
}

// settleCatchingUp: a leader that does not reach a member sends it nothing.
func (w *World) settleCatchingUp(now time.Time) {
	for _, h := range w.all() {
		for _, s := range h.boots {
			m, leader := s.cluster.find(s.member), w.server(s.cluster, s.cluster.leader)
			if m == nil || leader == nil || !now.Before(s.catching) {
				continue
			}
			u, err := url.Parse(m.peerURLs[0])
			if err != nil {
				continue
			}
			if r, err := w.route(leader.host, u.Host); err != nil || r.kind != etcdPeer || r.boot != s {
				s.catching = now.Add(catchUp)
			}
		}
	}
}

// memberExited tells whoever runs the process.
func (h *Host) memberExited(key string) {
	if key == unitBoot {
		u := h.units["etcd.service"]
		u.proc, u.state, u.retryAt = nil, "activating", time.Now().Add(5*time.Second)
		return
	}
	if p := h.pods[key]; p != nil {
		p.proc, p.startAt = nil, time.Now().Add(10*time.Second)
	}
}

// unitBoot is the key in Host.boots of the member that systemd runs.
const unitBoot = "etcd.service"

// identity is what a data folder says of its member.
const identity = "cluster %x member %x\n"

// bootMember starts an etcd with these flags and this environment; it is
// what the program does before it serves.
func (w *World) bootMember(h *Host, key, exe string, argv []string, env map[string]string) (*process, error) {
	f := flags(argv)
	for flag, variable := range map[string]string{"initial-cluster": "ETCD_INITIAL_CLUSTER", "initial-cluster-state": "ETCD_INITIAL_CLUSTER_STATE"} {
		if _, ok := f[flag]; !ok {
			f[flag] = env[variable]
		}
	}
	if err := errors.Join(h.memberFiles(f), h.mayListen(f)); err != nil {
		return nil, err
	}
	s := &bootedServer{host: h, flags: f, since: time.Now()}
	db := path.Join(f["data-dir"], "member/snap/db")
	if h.has(path.Join(f["data-dir"], "member")) {
		if err := w.resumeMember(s, h.read(db)); err != nil {
			return nil, err
		}
		w.serveRestored(s.cluster)
	} else if err := w.joinMember(s); err != nil {
		return nil, err
	}
	h.put(db, fmt.Sprintf(identity, s.cluster.id, s.member), 0o600, h.folders[f["data-dir"]].owner)
	m := s.cluster.find(s.member)
	m.name, m.clientURLs = f["name"], strings.Split(f["advertise-client-urls"], ",")
	s.proc = h.start("etcd", exe, argv)
	h.boots[key] = s
	return s.proc, nil
}

// resumeMember goes on with what the data folder holds.
func (w *World) resumeMember(s *bootedServer, disk string) error {
	var clusterID, memberID uint64
	if _, err := fmt.Sscanf(disk, identity, &clusterID, &memberID); err != nil {
		return fmt.Errorf("snap: file does not hold a member: %w", err)
	}
	s.member = memberID
	for _, c := range w.clusters {
		if c.id == clusterID {
			s.cluster = c
		}
	}
	if s.cluster == nil || s.cluster.find(memberID) == nil {
		return fmt.Errorf("the member has been permanently removed from the cluster")
	}
	return nil
}

// joinMember is the first start: the initial cluster must be, byte for byte,
// the member list (server/etcdserver/api/membership: ValidateClusterAndAssignIDs).
func (w *World) joinMember(s *bootedServer) error {
	f := s.flags
	if f["initial-cluster-state"] != "existing" {
		w.never("%s founded a cluster of its own", s.host.Name())
		return fmt.Errorf("founding a cluster")
	}
	given := map[string][]string{}
	for _, part := range strings.Split(f["initial-cluster"], ",") {
		name, peer, _ := strings.Cut(part, "=")
		given[name] = append(given[name], peer)
	}
	c, relayed := w.askPeers(s.host, f["name"], given)
	if c == nil {
		return fmt.Errorf("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs")
	}
	if len(given) != len(c.members) {
		return fmt.Errorf("error validating peerURLs: member count is unequal")
	}
	for _, m := range c.members {
		name := m.name
		if name == "" {
			name, s.member = f["name"], m.id
		}
		if !slices.Equal(given[name], m.peerURLs) {
			return fmt.Errorf("error validating peerURLs: unmatched member while checking PeerURLs (%s)", name)
		}
	}
	if s.member == 0 {
		return fmt.Errorf("error validating peerURLs: couldn't find local name %q in the initial cluster configuration", f["name"])
	}
	if relayed {
		if err := s.host.holds(f["peer-cert-file"], "127.0.0.1"); err != nil {
			return fmt.Errorf("the relay's peer would reject this one: %w", err)
		}
	}
	s.cluster, s.catching = c, time.Now().Add(catchUp)
	return nil
}

// askPeers asks the other members of an initial cluster who is in it; relayed
// says that one of them sees this one come from 127.0.0.1.
func (w *World) askPeers(h *Host, own string, given map[string][]string) (c *etcdCluster, relayed bool) {
	for name, urls := range given {
		if name == own {
			continue
		}
		u, err := url.Parse(urls[0])
		if err != nil {
			continue
		}
		r, err := w.route(h, u.Host)
		if err != nil || r.kind != etcdPeer || r.boot.cluster.find(r.boot.member) == nil {
			continue
		}
		c, relayed = r.boot.cluster, relayed || r.relayed
	}
	return c, relayed
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
