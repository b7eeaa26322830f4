package restore

import (
	"context"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

func (o Options) masterLeases() phases.Step {
	return phases.Step{
		ID:    masterLeasesID,
		Title: "Remove the API servers' leases that came with the snapshot",
		Why:   "An API server that is no more would stay among the kubernetes Service's endpoints, and every n-th connection would hang.",
		On:    migrate.Once,
		Needs: []migrate.StepID{startID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			stale, err := o.staleLeases(ctx, v)
			switch {
			case err != nil:
				return phases.Need(migrate.Before{}, "etcd does not answer yet"), nil
			case len(stale) > 0:
				return phases.Need(migrate.Before{}, "of no running API server: %s", strings.Join(stale, ", ")), nil
			}
			return phases.Done("every lease is of an API server that runs"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			stale, err := o.staleLeases(ctx, h.Reader)
			if err != nil {
				return err
			}
			e, err := h.Etcd(ctx)
			if err != nil {
				return err
			}
			for _, key := range stale {
				if err := e.Delete(ctx, key); err != nil {
					return err
				}
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			stale, err := o.staleLeases(ctx, v)
			if err != nil || len(stale) > 0 {
				return orErr(err, "still there: %s", strings.Join(stale, ", "))
			}
			return nil
		},
		OneWay: oneWay,
		Settle: 30 * time.Second,
	}
}

// staleLeases lists those of addresses at which no API server runs.
func (o Options) staleLeases(ctx context.Context, v phases.Reader) ([]string, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := e.Keys(ctx, apiserver.Leases)
	if err != nil {
		return nil, err
	}
	planes, err := v.Access().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, node := range planes {
		p, running, err := v.APIServer(ctx, node)
		if err != nil {
			return nil, err
		}
		if address, ok := p.Flags.Get("advertise-address"); running && ok {
			live[apiserver.Leases+address] = true
		} else if running {
			live[apiserver.Leases+v.Access().Reader(node).Self().Address] = true
		}
	}
	var stale []string
	for _, key := range keys {
		if !live[key] {
			stale = append(stale, key)
		}
	}
	return stale, nil
}
