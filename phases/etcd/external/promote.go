package external

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcd"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// promote gives the member its vote.
func promote() phases.Step {
	return phases.Step{
		ID:      promoteID,
		Title:   "Promote the member to a voter",
		Why:     "Only voters count for the quorum.",
		On:      migrate.EtcdHosts,
		Rolling: true,
		// Two voters survive no failure: not a place to stop.
		KeepGoing: true,
		Needs:     []migrate.StepID{startMemberID},
		ByHand:    "```\n$ETCDCTL member promote <ID>\n$ETCDCTL endpoint hashkv --cluster -w table    # equal hashes\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			members, _, err := membership.List(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			m, ok := membership.MemberOn(members, v.Self())
			if ok && !m.Learner {
				return phases.Done("member %x is a voter", m.ID), nil
			}
			return phases.Need(migrate.Before{"members": membership.Describe(members)}, "it is not a voter yet"), nil
		},
		Apply:  applyPromote,
		Verify: verifyPromote,
		Undo:   undoPromote,
		Settle: 2 * time.Minute, WaitsFor: "etcd",
	}
}

// applyPromote asks again while etcd finds the learner not in sync: under
// steady writes it may be a few entries behind at any one moment.
func applyPromote(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	return membership.Promote(ctx, h, h.Target(), func(members []etcd.Member) (etcd.Member, bool) { return membership.MemberOn(members, h.Self()) })
}

// verifyPromote wants a voter that knows it is one. That all members hold one
// history is proven before anything depends on the new ones: hashing holds up
// a large database, so it is done once and not polled.
func verifyPromote(ctx context.Context, v phases.Reader) error {
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	m, ok := membership.MemberOn(members, v.Self())
	if !ok || m.Learner {
		return fmt.Errorf("%s is not a voter: %s", v.Target(), membership.Describe(members))
	}
	own, err := e.Status(ctx, v.Target())
	if err != nil {
		return err
	}
	if own.Learner {
		return fmt.Errorf("the member on %s does not know yet that it is a voter", v.Target())
	}
	return nil
}

// undoPromote removes the member: a voter can't be demoted. Its unit is
// disabled before, so that a removed member does not come back with its host,
// and stopped after, so that the votes of those that stay are enough at every
// moment.
func undoPromote(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	members, _, err := membership.List(ctx, h.Reader)
	if err != nil {
		return err
	}
	m, ok := membership.MemberOn(members, h.Self())
	switch {
	case !ok:
		return stopUnit(ctx, h) // an attempt before was cut after the removal
	case m.Learner:
		return nil // it was not promoted
	}
	if err := mayLeave(ctx, h); err != nil {
		return fmt.Errorf("the member on %s is not removed: %w", h.Target(), err)
	}
	if err := disableUnit(ctx, h); err != nil {
		return err
	}
	if err := membership.RemoveVoter(ctx, h, m); err != nil {
		return err
	}
	err = phases.Await(ctx, h.Reader, time.Minute, func(ctx context.Context) error { return membership.OthersServe(ctx, h.Reader, h.Target()) })
	if err != nil {
		return fmt.Errorf("waiting for the members that stay: %w", err)
	}
	return stopUnit(ctx, h)
}
