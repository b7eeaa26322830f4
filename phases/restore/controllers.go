package restore

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/process"
	"hamigrate/phases"
)

func (o Options) controllers() phases.Step {
	run := func(ctx context.Context, v phases.Reader) error {
		for _, p := range controllerPods {
			if err := o.back(ctx, v, p); err != nil {
				return err
			}
			list, err := process.Find(ctx, v.On(v.Target()), p.comm)
			if err != nil || len(list) == 0 {
				return orErr(err, "%s does not run on %s yet", p.name, v.Target())
			}
		}
		return nil
	}
	return phases.Step{
		ID:    controllersID,
		Title: "Bring the controller-manager and the scheduler back",
		Why:   "They start again and with the API's present state: before the API serves they would only fail.",
		On:    migrate.ControlPlanes,
		Needs: []migrate.StepID{apiServerID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if err := run(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("both run"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			return o.bringBack(ctx, h, controllerPods...)
		},
		Verify: run,
		OneWay: oneWay,
		Settle: 3 * time.Minute, WaitsFor: "kubelet",
	}
}
