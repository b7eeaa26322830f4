package external

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// addLearner adds the host to the member list as a learner: it gets all data
// but has no vote, so a learner that never starts harms nobody. A voter
// added to one voter takes the quorum with it until it runs.
func addLearner() phases.Step {
	return phases.Step{
		ID:      addLearnerID,
		Title:   "Add the member as a learner",
		Why:     "A learner has no vote: if it never starts, nothing is lost.",
		On:      migrate.EtcdHosts,
		Rolling: true,
		// Two voters survive no failure: not a place to stop.
		KeepGoing: true,
		Needs:     []migrate.StepID{unitID, peerURLID},
		ByHand:    "```\n$ETCDCTL member add {{.Target}} --learner --peer-urls=https://{{.Address}}:2380    # its answer goes into the next step\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			members, _, err := membership.List(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			if m, ok := membership.MemberOn(members, v.Self()); ok {
				return phases.Done("member %x is in the list", m.ID), nil
			}
			// One learner at a time is etcd's own limit; one of somebody
			// else's is not ours to judge.
			for _, m := range members {
				if m.Learner && !membership.OnEtcdHost(m.PeerHost(), v) {
					return phases.Block("promote or remove it first", "another learner is in the list: %s", m.PeerHost()), nil
				}
			}
			f := phases.Need(migrate.Before{"members": membership.Describe(members)}, "it is not a member; the members are %s", membership.Describe(members))
			f.Changes = []migrate.Change{{Object: "etcd: members", Before: membership.Lines(membership.Describe(members)), After: membership.Lines(membership.Describe(members) + ", " + v.Self().Address + " (" + v.Target() + ", learner, then voter)")}}
			return f, nil
		},
		Apply: applyAddLearner,
		Verify: func(ctx context.Context, v phases.Reader) error {
			members, _, err := membership.List(ctx, v)
			if err != nil {
				return err
			}
			if _, ok := membership.MemberOn(members, v.Self()); !ok {
				return fmt.Errorf("%s is not in the member list: %s", v.Target(), membership.Describe(members))
			}
			return nil
		},
		Undo:   undoAddLearner,
		Settle: 30 * time.Second, WaitsFor: "etcd",
	}
}

func applyAddLearner(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	return membership.AddLearner(ctx, h, h.Self())
}

// undoAddLearner takes the learner off the list.
func undoAddLearner(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	return membership.RemoveLearner(ctx, h, membership.PeerURL(h.Self()))
}
