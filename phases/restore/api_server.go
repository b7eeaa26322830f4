package restore

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// apiServer brings the API servers back, one node after the other.
func (o Options) apiServer() phases.Step {
	return phases.Step{
		ID:    apiServerID,
		Title: "Bring the API server back",
		Why:   "One at a time, and the first one tells whether the restored data can be served at all.",
		On:    migrate.ControlPlanes,
		Needs: []migrate.StepID{masterLeasesID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if err := manifestSomewhere(ctx, v); err != nil {
				return phases.Block("put the manifest back from the backup's archive", "%v", err), nil
			}
			if err := o.serves(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("it answers /readyz with 200"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			return o.bringBack(ctx, h, apiServerPod)
		},
		Verify: o.serves,
		OneWay: oneWay,
		Settle: 5 * time.Minute, WaitsFor: "kube-apiserver",
	}
}

// serves wants the mark of this restore, too: an API server that was not
// stopped yet may answer.
func (o Options) serves(ctx context.Context, v phases.Reader) error {
	if err := o.back(ctx, v, apiServerPod); err != nil {
		return err
	}
	cfg, err := v.AdminConfigOn(ctx, v.Target())
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}
