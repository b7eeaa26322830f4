package restore

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
)

func (o Options) stopEtcd() phases.Step {
	return phases.Step{
		ID:    stopEtcdID,
		Title: "Stop what is left of the member",
		Why:   "A member of the old cluster must not meet those of the new one; disabled, its host may be rebooted meanwhile.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{stopControlPlaneID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("it was stopped, and its data is restored already"), err
			}
			if err := etcdStopped(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("etcd.service is stopped and disabled"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			return etcd.Of(h.Spec()).Stop(ctx, h)
		},
		Verify: etcdStopped,
		OneWay: oneWay,
		Settle: 2 * time.Minute, WaitsFor: "etcd",
	}
}

func etcdStopped(ctx context.Context, v phases.Reader) error {
	return etcd.Of(v.Spec()).Stopped(ctx, v)
}
