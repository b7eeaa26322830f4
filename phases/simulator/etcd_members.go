package simulator

import (
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// server returns the running server of a member, nil where there is none.
func (w *World) server(c *etcdCluster, id uint64) *bootedServer {
	for _, h := range w.all() {
		for _, s := range h.boots {
			if s.cluster == c && s.member == id {
				return s
			}
		}
	}
	return nil
}

// connectedSince counts the running voters that their peers have seen for d.
func (w *World) connectedSince(c *etcdCluster, d time.Duration) int {
	n := 0
	for _, m := range c.voters() {
		if s := w.server(c, m.id); s != nil && time.Since(s.since) >= d {
			n++
		}
	}
	return n
}

func (w *World) quorum(c *etcdCluster) bool { return w.connectedSince(c, 0) > len(c.voters())/2 }

func (w *World) addMember(c *etcdCluster, urls []string, learner bool) (*member, error) {
	for _, m := range c.members {
		if slices.Equal(m.peerURLs, urls) {
			return nil, rpctypes.ErrGRPCPeerURLExist
		}
		if learner && m.learner {
			return nil, rpctypes.ErrGRPCTooManyLearners
		}
	}
	if w.connectedSince(c, healthTime) < len(c.voters()) {
		return nil, rpctypes.ErrGRPCUnhealthy
	}
	if !learner {
		w.never("a voter was added that was no learner before")
	}
	c.nextID++
	m := &member{id: c.nextID, peerURLs: urls, learner: learner}
	c.members = append(c.members, m)
	c.wrote(false)
	return m, nil
}

func (w *World) promoteMember(c *etcdCluster, id uint64) error {
	m := c.find(id)
	if m == nil {
		return rpctypes.ErrGRPCMemberNotFound
	}
	if !m.learner {
		return rpctypes.ErrGRPCMemberNotLearner
	}
	s := w.server(c, id)
	if s == nil || time.Now().Before(s.catching) {
		return rpctypes.ErrGRPCLearnerNotReady
	}
	m.learner = false
	c.wrote(false)
	return nil
}

func (w *World) updateMember(c *etcdCluster, id uint64, urls []string) error {
	m := c.find(id)
	if m == nil {
		return rpctypes.ErrGRPCMemberNotFound
	}
	if m.learner {
		w.never("a learner's peer URL was changed, which promotes it before etcd 3.6.12")
	}
	m.peerURLs = urls
	c.wrote(false)
	return nil
}

func (w *World) removeMember(c *etcdCluster, id uint64) error {
	m := c.find(id)
	if m == nil {
		return rpctypes.ErrGRPCMemberNotFound
	}
	if !m.learner {
		left := len(c.voters()) - 1
		if s := w.server(c, id); s != nil && w.connectedSince(c, healthTime)-1 < 1+left/2 {
			return rpctypes.ErrGRPCUnhealthy
		}
	}
	if id == c.leader {
		w.never("the leader was removed")
	}
	w.neverAlone(m)
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m.id == id })
	c.wrote(false)
	return nil
}

// neverAlone: an API server must not list a removed member alone.
func (w *World) neverAlone(m *member) {
	for _, h := range w.all() {
		for _, pod := range h.apiServers() {
			servers := strings.Split(pod.proc.flags["etcd-servers"], ",")
			if len(servers) == 1 && slices.Contains(m.clientURLs, servers[0]) {
				w.never("%s was removed while the API server on %s uses it alone", m.name, h.Name())
			}
		}
	}
}

func (w *World) moveLeader(c *etcdCluster, asked, to uint64) error {
	if c.leader != asked {
		return rpctypes.ErrGRPCNotLeader
	}
	m := c.find(to)
	if m == nil || m.learner || w.server(c, to) == nil {
		return rpctypes.ErrGRPCBadLeaderTransferee
	}
	c.leader = to
	return nil
}
