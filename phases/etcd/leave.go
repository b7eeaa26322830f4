package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// mayLeave refuses where a member that goes would take more with it: an API
// server that uses it, or the quorum of those that stay. One that leads has
// handed over then: it may have come to it since the leader was moved.
func mayLeave(ctx context.Context, h phases.Hands) error {
	if err := usesOldMemberAlone(ctx, h.View); err != nil {
		return err
	}
	if err := noAPIServerUses(ctx, h.View, h.Self().Address); err != nil {
		return err
	}
	if err := othersServe(ctx, h.View, h.Target()); err != nil {
		return err
	}
	return leaderToOldMember(ctx, h)
}

// noAPIServerUses looks at the manifests and at all API servers that run, the
// second one of an overlap included.
func noAPIServerUses(ctx context.Context, v phases.View, address string) error {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	ours := append(slices.Clone(v.Spec().ControlPlane.Joining), v.First())
	for name, n := range nodes {
		if kube.IsControlPlane(n) && !slices.ContainsFunc(ours, func(h cluster.Host) bool { return h.Name == name }) {
			return fmt.Errorf("control-plane node %s is not in the spec, so nobody can say which members its API server uses: list it in spec.controlPlane.joining, or take it out of the cluster first", name)
		}
	}
	for _, h := range ours {
		if n, ok := nodes[h.Name]; !ok || !kube.IsControlPlane(n) {
			continue
		}
		list, err := phases.Processes(ctx, v.On(h.Name), "kube-apiserver")
		if err != nil {
			return err
		}
		uses := make([]kube.Flags, 0, len(list)+1)
		for _, p := range list {
			uses = append(uses, p.Flags)
		}
		f, err := v.On(h.Name).ReadFile(ctx, phases.APIServerManifest)
		if err != nil {
			return err
		}
		m, err := kube.ParseManifest(f.Data)
		if err != nil {
			return fmt.Errorf("on %s: %w", h.Name, err)
		}
		for _, flags := range append(uses, m.Flags()) {
			if servers, _ := flags.Get("etcd-servers"); strings.Contains(servers, "//"+address+":") {
				return fmt.Errorf("an API server on %s uses it (--etcd-servers=%s): point it to the old member first", h.Name, servers)
			}
		}
	}
	return nil
}

// othersServe wants every voter but the one on a host to answer and to know
// the leader, all of one cluster.
func othersServe(ctx context.Context, v phases.View, but string) error {
	members, e, err := list(ctx, v)
	if err != nil {
		return err
	}
	answers := map[uint64]etcd.Status{}
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil && a.Host != but {
			answers[a.Status.MemberID] = a.Status
		}
	}
	leaving, _ := memberOn(members, hostOf(v, but))
	var clusterID uint64
	for _, m := range members {
		if m.Learner || m.ID == leaving.ID {
			continue
		}
		s, ok := answers[m.ID]
		switch {
		case !ok:
			return fmt.Errorf("voter %s (%s), which stays, does not answer", m.Name, m.PeerHost())
		case s.Leader == 0:
			return fmt.Errorf("voter %s (%s), which stays, knows no leader", m.Name, m.PeerHost())
		case clusterID != 0 && s.ClusterID != clusterID:
			return fmt.Errorf("voter %s (%s) is of cluster %x, the others of %x", m.Name, m.PeerHost(), s.ClusterID, clusterID)
		}
		clusterID = s.ClusterID
	}
	if clusterID == 0 {
		return fmt.Errorf("no voter would stay: %s", describe(members))
	}
	return nil
}

// removeVoter asks a member that stays.
func removeVoter(ctx context.Context, h phases.Hands, m etcd.Member) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return changeMembership(ctx, h.World(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		if _, ok := memberOn(members, h.Self()); !ok {
			return nil
		}
		host, s, err := aVoterHost(ctx, &e.Reader)
		switch {
		case err != nil:
			return err
		case s.Leader == m.ID:
			return fmt.Errorf("the member on %s has become the leader again: run once more", h.Target())
		case host == h.Target():
			host = h.First().Name
		}
		return e.Remove(ctx, host, m.ID)
	})
}

// alone refuses as long as the old member has others beside it: they reach it
// by what is about to be taken away.
func alone(ctx context.Context, v phases.View) error {
	members, _, err := list(ctx, v)
	if err != nil {
		return err
	}
	if _, ok := oldMember(members, v); !ok || len(members) != 1 {
		return fmt.Errorf("the old member on %s is not the only one, and the others reach it there: %s", v.First().Name, describe(members))
	}
	return nil
}
