package restore

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// cleanUp removes the copies of the snapshot: every Secret is in them.
func (o Options) cleanUp() phases.Step {
	left := func(ctx context.Context, v phases.Reader) error {
		for _, file := range []string{o.snapshotFile(), o.programFile()} {
			if there, err := exists(ctx, v.On(v.Target()), file); err != nil || there {
				return orErr(err, "%s is still on %s", file, v.Target())
			}
		}
		return nil
	}
	return phases.Step{
		ID:    cleanUpID,
		Title: "Remove the copies of the snapshot and of this program",
		Why:   "Every Secret of the cluster is in the snapshot.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{proveID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if err := left(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			if there, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || !there {
				return phases.Need(migrate.Before{}, "they come with this restore"), err
			}
			return phases.Done("they are gone"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			if _, err := h.On(h.Target()).Run(ctx, remote.Cmd("rm", "-f", o.snapshotFile(), o.programFile())); err != nil {
				return fmt.Errorf("removing the copies on %s: %w", h.Target(), err)
			}
			return nil
		},
		Verify: left,
		OneWay: oneWay,
		Settle: 10 * time.Second,
	}
}
