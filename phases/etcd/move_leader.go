package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcd"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

const (
	moveLeaderID = "etcd/move-leader"
	// quietLooks bounds how often the log is looked at until nothing is added
	// to it: the API server is held for a second and no longer. Others than
	// the API server may write, too.
	quietLooks = 10
)

// moveLeader hands the leadership to a new member, so that removing the old
// one costs no election. The API server is held for that moment: a leader that
// hands over drops what is proposed to it.
func moveLeader() phases.Step {
	return phases.Step{
		ID:    moveLeaderID,
		Title: "Move the leader to a new member",
		Why:   "Removing a leader stops writes until the others have elected one.",
		On:    migrate.Once,
		Needs: []migrate.StepID{promoteID},
		ByHand: "A write that falls into this moment is answered with status 500, because a leader that hands over drops what is proposed to it; nothing acknowledged is lost.\n\n" +
			"```\n$ETCDCTL move-leader <ID of a new member>    # asked of the present leader\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			members, e, err := list(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			old, ok := oldMember(members, v)
			if !ok {
				return phases.Done("the old member is gone"), nil
			}
			_, s, err := aVoterHost(ctx, e)
			if err != nil {
				return migrate.Finding{}, err
			}
			if s.Leader != old.ID {
				return phases.Done("the leader is %x, a new member", s.Leader), nil
			}
			return phases.Need(migrate.Before{"leader": fmt.Sprintf("%x", s.Leader)}, "the old member is the leader"), nil
		},
		Apply: applyMoveLeader,
		Verify: func(ctx context.Context, v phases.View) error {
			members, e, err := list(ctx, v)
			if err != nil {
				return err
			}
			_, s, err := aVoterHost(ctx, e)
			if err != nil {
				return err
			}
			if old, ok := oldMember(members, v); ok && s.Leader == old.ID {
				return fmt.Errorf("the old member is still the leader")
			}
			return nil
		},
		Undo: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			return leaderToOldMember(ctx, h)
		},
		Settle: 30 * time.Second, WaitsFor: "etcd",
	}
}

func applyMoveLeader(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := oldMember(members, h.View)
	host, s, err := aVoterHost(ctx, &e.Reader)
	if err != nil || !ok || s.Leader != old.ID {
		return err
	}
	to, ok := memberOn(members, h.Spec().Etcd.Hosts[0])
	if !ok || to.Learner {
		return fmt.Errorf("%s has no voter to move the leader to", h.Spec().Etcd.Hosts[0].Name)
	}
	return handOverHeld(ctx, h, e, host, to.ID)
}

// leaderToOldMember hands the leadership back, as it was taken; done twice it
// is done once. On the way back the members' own steps need it, too: a leader
// that is removed costs an election, and one may have been elected among the
// new members at any time.
func leaderToOldMember(ctx context.Context, h phases.Hands) error {
	if err := oldMemberServes(ctx, h.View); err != nil {
		return fmt.Errorf("the leader can't be moved to the old member: %w", err)
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, _ := oldMember(members, h.View)
	host, s, err := aVoterHost(ctx, &e.Reader)
	if err != nil || s.Leader == old.ID {
		return err
	}
	return handOverHeld(ctx, h, e, host, old.ID)
}

// handOverHeld is handOver while the API server stands still.
func handOverHeld(ctx context.Context, h phases.Hands, e *etcd.Cluster, host string, to uint64) error {
	release, err := apiserver.Pause(ctx, h, h.First().Name)
	if err != nil {
		return err
	}
	err = handOver(ctx, h, e, host, to)
	letGo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, release(letGo))
}

// handOver moves the leader once nothing more is proposed to it.
func handOver(ctx context.Context, h phases.Hands, e *etcd.Cluster, host string, to uint64) error {
	if err := untilQuiet(ctx, h, e, host); err != nil {
		return err
	}
	return e.MoveLeader(ctx, host, to)
}

// untilQuiet waits until what was under way when the API server was held has
// found its way into the log.
func untilQuiet(ctx context.Context, h phases.Hands, e *etcd.Cluster, host string) error {
	defer h.World().Waiting()()
	var last uint64
	for range quietLooks {
		s, err := e.Status(ctx, host)
		if err != nil {
			return err
		}
		if s.RaftIndex == last && s.RaftApplied == s.RaftIndex {
			break
		}
		last = s.RaftIndex
	}
	return nil
}
