package restore

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

func (o Options) stopControlPlane() phases.Step {
	return phases.Step{
		ID:    stopControlPlaneID,
		Title: "Stop the API server, the controller-manager and the scheduler",
		Why:   "Whatever writes while the data is replaced writes into a cluster that is about to go, or acts on what it remembers.",
		On:    migrate.ControlPlanes,
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if back, err := o.marked(ctx, v, v.Target(), backMark(apiServerPod)); err != nil || back {
				return phases.Done("they were stopped, and are brought back already"), err
			}
			if err := o.stopped(ctx, v, v.Target()); err != nil {
				return phases.Need(migrate.Before{"manifests": "in " + kube.ManifestsDir}, "%v", err), nil
			}
			return phases.Done("none of them runs, and their manifests are in %s", phases.DisabledDir), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			var script strings.Builder
			fmt.Fprintf(&script, "set -eu; umask 077\ninstall -d -m 0700 %s %s\n", hostfiles.StateDir, phases.DisabledDir)
			for _, p := range allPods() {
				script.WriteString(p.park())
			}
			if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script.String()}); err != nil {
				return fmt.Errorf("moving the static pod manifests on %s to %s: %w", h.Target(), phases.DisabledDir, err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error { return o.stopped(ctx, v, v.Target()) },
		OneWay: oneWay,
		Settle: 4 * time.Minute, WaitsFor: "kubelet",
	}
}

// stopped says what still runs on a node, or would be started.
func (o Options) stopped(ctx context.Context, v phases.Reader, node string) error {
	for _, p := range allPods() {
		if there, err := exists(ctx, v.On(node), p.manifest()); err != nil || there {
			return orErr(err, "%s is in %s on %s", path.Base(p.manifest()), kube.ManifestsDir, node)
		}
		list, err := process.Find(ctx, v.On(node), p.comm)
		if err != nil || len(list) > 0 {
			return orErr(err, "%s runs on %s", p.name, node)
		}
	}
	return nil
}
