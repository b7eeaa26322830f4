package external

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
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
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			members, e, err := membership.List(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			old, ok := membership.OldMember(members, v)
			if !ok {
				return phases.Done("the old member is gone"), nil
			}
			_, s, err := membership.Voter(ctx, e)
			if err != nil {
				return migrate.Finding{}, err
			}
			if s.Leader != old.ID {
				return phases.Done("the leader is %x, a new member", s.Leader), nil
			}
			return phases.Need(migrate.Before{"leader": fmt.Sprintf("%x", s.Leader)}, "the old member is the leader"), nil
		},
		Apply: applyMoveLeader,
		Verify: func(ctx context.Context, v phases.Reader) error {
			members, e, err := membership.List(ctx, v)
			if err != nil {
				return err
			}
			_, s, err := membership.Voter(ctx, e)
			if err != nil {
				return err
			}
			if old, ok := membership.OldMember(members, v); ok && s.Leader == old.ID {
				return fmt.Errorf("the old member is still the leader")
			}
			return nil
		},
		Undo: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			return membership.LeaderToOldMember(ctx, h)
		},
		Settle: 30 * time.Second, WaitsFor: "etcd",
	}
}

func applyMoveLeader(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, h.Reader)
	host, s, err := membership.Voter(ctx, &e.Reader)
	if err != nil || !ok || s.Leader != old.ID {
		return err
	}
	to, ok := membership.MemberOn(members, h.Spec().Etcd.Hosts[0])
	if !ok || to.Learner {
		return fmt.Errorf("%s has no voter to move the leader to", h.Spec().Etcd.Hosts[0].Name)
	}
	return membership.HandOver(ctx, h, e, host, to.ID)
}
