package restore

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
	"hamigrate/phases/etcd/membership"
)

// startEtcd starts all members: none serves before two of them run.
func (o Options) startEtcd() phases.Step {
	return phases.Step{
		ID:    startID,
		Title: "Start the members",
		Why:   "They must be one cluster, with one leader and the same data, before anything writes.",
		On:    migrate.Once,
		Needs: []migrate.StepID{memberID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if err := o.oneCluster(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("all members are of cluster %x and hold the same data", o.ClusterID), nil
		},
		Apply:  o.applyStart,
		Verify: o.oneCluster,
		OneWay: oneWay,
		Settle: 3 * time.Minute, WaitsFor: "etcd",
	}
}

func (o Options) applyStart(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	planes, err := h.Access().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return err
	}
	for _, node := range planes {
		back, err := o.marked(ctx, h.Reader, node, backMark(apiServerPod))
		if err != nil {
			return err
		}
		if back {
			continue // a later attempt: it was stopped before the first one
		}
		if err := o.stopped(ctx, h.Reader, node); err != nil {
			return fmt.Errorf("starting the members: nothing may write yet, but %w", err)
		}
	}
	for _, self := range h.Spec().EtcdMembers() {
		if err := etcd.Of(h.Spec()).Start(ctx, h, self.Name, InitialCluster(h.Spec())); err != nil {
			return err
		}
	}
	return nil
}

// oneCluster wants all members to answer, to be of the restored cluster, to
// know one leader and to hold the same data.
func (o Options) oneCluster(ctx context.Context, v phases.Reader) error {
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	answers := e.Statuses(ctx)
	if len(answers) < len(v.Spec().EtcdMembers()) {
		return fmt.Errorf("%d of %d members answer", len(answers), len(v.Spec().EtcdMembers()))
	}
	for _, a := range answers {
		switch s := a.Status; {
		case a.Err != nil:
			return a.Err
		case s.ClusterID != o.ClusterID:
			return fmt.Errorf("the member on %s is of cluster %x, the restored one is %x", a.Host, s.ClusterID, o.ClusterID)
		case s.Leader == 0 || s.Leader != answers[0].Status.Leader:
			return fmt.Errorf("the members know no one leader")
		case s.Revision <= o.Revision:
			return fmt.Errorf("the member on %s is at revision %d, and its clients know later ones: it was not restored by this program", a.Host, s.Revision)
		}
	}
	return membership.SameHistory(ctx, e)
}
