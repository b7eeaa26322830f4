package membership

import (
	"context"
	"fmt"
	"slices"

	"hamigrate/migrate/etcd"
	"hamigrate/phases"
)

// OthersServe wants every voter but the one on a host to answer and to know
// the leader, all of one cluster.
func OthersServe(ctx context.Context, v phases.Reader, but string) error {
	members, e, err := List(ctx, v)
	if err != nil {
		return err
	}
	answers := map[uint64]etcd.Status{}
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil && a.Host != but {
			answers[a.Status.MemberID] = a.Status
		}
	}
	leaving, _ := MemberOn(members, HostOf(v, but))
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
		return fmt.Errorf("no voter would stay: %s", Describe(members))
	}
	return nil
}

// RemoveVoter asks a member that stays.
func RemoveVoter(ctx context.Context, h phases.Writer, m etcd.Member) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return Change(ctx, h.Access(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		if _, ok := MemberOn(members, h.Self()); !ok {
			return nil
		}
		host, s, err := Voter(ctx, &e.Reader)
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

// WithHosts adds the members that the steps before this one will have added,
// for the plan of a whole phase.
func WithHosts(members []etcd.Member, v phases.Reader) []etcd.Member {
	members = slices.Clone(members)
	for _, h := range v.Spec().EtcdMembers() {
		if _, ok := MemberOn(members, h); !ok {
			members = append(members, etcd.Member{Name: h.Name, PeerURLs: []string{PeerURL(h)}})
		}
	}
	return members
}

// Without are the members but for one.
func Without(members []etcd.Member, id uint64) []etcd.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m etcd.Member) bool { return m.ID == id && id != 0 })
}

// OldMemberServes says why the old member can't be used by an API server any
// more: once removed, it would serve a world of its own.
func OldMemberServes(ctx context.Context, v phases.Reader) error {
	members, e, err := List(ctx, v)
	if err != nil {
		return err
	}
	old, ok := OldMember(members, v)
	if !ok || old.Learner || !slices.Contains(e.Hosts(), v.First().Name) {
		return fmt.Errorf("it is no voter that answers: %s", Describe(members))
	}
	s, err := e.Status(ctx, v.First().Name)
	if err == nil && s.MemberID != old.ID {
		err = fmt.Errorf("member %x answers in its place", s.MemberID)
	}
	return err
}
