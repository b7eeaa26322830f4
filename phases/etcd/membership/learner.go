package membership

import (
	"context"
	"fmt"
	"slices"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/phases"
)

// AddLearner adds a host as a learner; one that is a member is left as it is.
func AddLearner(ctx context.Context, h phases.Writer, host cluster.Host) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return Change(ctx, h.Access(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		if _, ok := MemberOn(members, host); ok {
			return nil
		}
		voter, _, err := Voter(ctx, &e.Reader)
		if err != nil {
			return err
		}
		return e.AddLearner(ctx, voter, PeerURL(host))
	})
}

// RemoveLearner removes the learner with a peer URL; one that is not there is
// success, and a voter is never removed by it.
func RemoveLearner(ctx context.Context, h phases.Writer, peerURL string) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return Change(ctx, h.Access(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(members, func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, peerURL) })
		if i < 0 {
			return nil
		}
		if !members[i].Learner {
			return fmt.Errorf("%s is a voter by now: %s", peerURL, Describe(members))
		}
		host, _, err := Voter(ctx, &e.Reader)
		if err != nil {
			return err
		}
		return e.Remove(ctx, host, members[i].ID)
	})
}

// AnswersAs wants the member on a host to be m and to know the leader.
func AnswersAs(ctx context.Context, e *etcd.Reader, host string, m etcd.Member) error {
	s, err := e.Status(ctx, host)
	switch {
	case err != nil:
		return err
	case s.MemberID != m.ID:
		return fmt.Errorf("etcd on %s is member %x, the list says %x", host, s.MemberID, m.ID)
	case s.Leader == 0:
		return fmt.Errorf("the member on %s knows no leader", host)
	}
	return nil
}

// CaughtUp wants the member on a host to be m, of this cluster, with all data.
func CaughtUp(ctx context.Context, e *etcd.Reader, host string, m etcd.Member) error {
	// The leader is asked first: under steady writes the other order would
	// compare with entries that the member can't have yet.
	_, leader, err := Voter(ctx, e)
	if err != nil {
		return err
	}
	own, err := e.Status(ctx, host)
	if err != nil {
		return err
	}
	switch {
	case own.MemberID != m.ID:
		return migrate.Hopeless(fmt.Errorf("etcd on %s is member %x, the list says %x: its data is another member's", host, own.MemberID, m.ID))
	case own.ClusterID != leader.ClusterID:
		return migrate.Hopeless(fmt.Errorf("etcd on %s is of cluster %x, not of %x", host, own.ClusterID, leader.ClusterID))
	case own.RaftApplied+closeEnough < leader.RaftIndex:
		return fmt.Errorf("the member on %s catches up: %d of %d", host, own.RaftApplied, leader.RaftIndex)
	}
	return nil
}

// closeEnough is how many log entries a member may be behind to count as
// caught up: under load it is always behind by what is on its way.
const closeEnough = 100

// Promote promotes the learner that find picks, which is on a host; one that is
// a voter is left as it is.
func Promote(ctx context.Context, h phases.Writer, host string, find func([]etcd.Member) (etcd.Member, bool)) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return Change(ctx, h.Access(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		m, ok := find(members)
		if !ok {
			return fmt.Errorf("%s is not in the member list: %s", host, Describe(members))
		}
		if !m.Learner {
			return nil
		}
		voter, _, err := Voter(ctx, &e.Reader)
		if err != nil {
			return err
		}
		return e.Promote(ctx, voter, m.ID)
	})
}
