package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	apiServerID   = "restore/api-server"
	controllersID = "restore/controllers"
	proveID       = "restore/prove"
	cleanUpID     = "restore/clean-up"
)

// apiServer brings the API servers back, one node after the other.
func (o Options) apiServer() phases.Step {
	return phases.Step{
		ID:    apiServerID,
		Title: "Bring the API server back",
		Why:   "One at a time, and the first one tells whether the restored data can be served at all.",
		On:    migrate.ControlPlanes,
		Needs: []migrate.StepID{masterLeasesID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if err := manifestSomewhere(ctx, v); err != nil {
				return phases.Block("put the manifest back from the backup's archive", "%v", err), nil
			}
			if err := o.serves(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("it answers /readyz with 200"), nil
		},
		Apply:  o.bringBack(apiServerPod),
		Verify: o.serves,
		OneWay: oneWay,
		Settle: 5 * time.Minute, WaitsFor: "kube-apiserver",
	}
}

func manifestSomewhere(ctx context.Context, v phases.View) error {
	_, err := v.APIServerManifest(ctx, v.Target())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kube-apiserver.yaml on %s is neither in %s nor in %s", v.Target(), kube.ManifestsDir, phases.ParkedDir)
	}
	return err
}

// serves wants the mark of this restore, too: an API server that was not
// stopped yet may answer.
func (o Options) serves(ctx context.Context, v phases.View) error {
	if err := o.back(ctx, v, apiServerPod); err != nil {
		return err
	}
	cfg, err := v.AdminConfigOn(ctx, v.Target())
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}

// back wants a pod's manifest brought back by this restore.
func (o Options) back(ctx context.Context, v phases.View, p pod) error {
	marked, err := o.marked(ctx, v, v.Target(), backMark(p))
	if err != nil || !marked {
		return orErr(err, "%s is stopped on %s", p.name, v.Target())
	}
	there, err := exists(ctx, v.On(v.Target()), p.manifest())
	if err != nil || !there {
		return orErr(err, "%s is not there on %s", p.manifest(), v.Target())
	}
	return nil
}

// bringBack marks each pod as brought back before it moves its manifest: one
// that runs without the mark would be stopped again by a run that resumes.
func (o Options) bringBack(pods ...pod) func(context.Context, phases.Hands, migrate.Before) error {
	return func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
		var script strings.Builder
		script.WriteString("set -eu; umask 077\n")
		for _, p := range pods {
			script.WriteString(o.setMark(backMark(p)) + p.unpark())
		}
		if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script.String()}); err != nil {
			return fmt.Errorf("moving manifests back on %s: %w", h.Target(), err)
		}
		return nil
	}
}

func (o Options) controllers() phases.Step {
	run := func(ctx context.Context, v phases.View) error {
		for _, p := range controllerPods {
			if err := o.back(ctx, v, p); err != nil {
				return err
			}
			list, err := phases.Processes(ctx, v.On(v.Target()), p.comm)
			if err != nil || len(list) == 0 {
				return orErr(err, "%s does not run on %s yet", p.name, v.Target())
			}
		}
		return nil
	}
	return phases.Step{
		ID:    controllersID,
		Title: "Bring the controller-manager and the scheduler back",
		Why:   "They start anew and with the API's present state: before the API serves they would only fail.",
		On:    migrate.ControlPlanes,
		Needs: []migrate.StepID{apiServerID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if err := run(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("both run"), nil
		},
		Apply:  o.bringBack(controllerPods...),
		Verify: run,
		OneWay: oneWay,
		Settle: 3 * time.Minute, WaitsFor: "kubelet",
	}
}

const provedMark = "proved"

// prove writes and reads through every API server, and asks for what holds
// between any two steps of the migration.
func (o Options) prove() phases.Step {
	return phases.Step{
		ID:    proveID,
		Title: "Write and read through every API server",
		Why:   "An API server that is ready may still be unable to write.",
		On:    migrate.Once,
		Needs: []migrate.StepID{coreDNSID},
		Check: o.onMark(provedMark, "it was done, and every node was Ready", "it was not done yet"),
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			planes, err := h.World().Targets(ctx, migrate.ControlPlanes)
			if err != nil {
				return err
			}
			for _, node := range planes {
				cfg, err := h.AdminConfigOn(ctx, node)
				if err != nil {
					return err
				}
				if err := kube.WriteAndRead(ctx, cfg, "migrate-restore-check"); err != nil {
					return err
				}
			}
			if err := o.allReady(ctx, h.View); err != nil {
				return err
			}
			if _, err := h.On(h.First().Name).Run(ctx, remote.Command{Script: "set -eu; umask 077\n" + o.setMark(provedMark)}); err != nil {
				return fmt.Errorf("keeping that it was done: %w", err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.View) error {
			if err := phases.Guard(ctx, v); err != nil {
				return err
			}
			if err := o.oneCluster(ctx, v); err != nil {
				return err
			}
			return o.verifyMark(provedMark)(ctx, v)
		},
		OneWay: oneWay,
		Settle: 2 * time.Minute,
	}
}

// allReady wants every node Ready whose kubelet the restore has restarted.
// Others came with the snapshot: nodes that were removed after it, or that the
// spec does not name.
func (o Options) allReady(ctx context.Context, v phases.View) error {
	ours, err := o.nodes(ctx, v)
	if err != nil {
		return err
	}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, name := range ours {
		if !kube.Ready(nodes[name]) {
			return fmt.Errorf("node %s is not Ready (%s)", name, ifGone(v.Spec(), name))
		}
	}
	return nil
}

// cleanUp removes the copies of the snapshot: every Secret is in them.
func (o Options) cleanUp() phases.Step {
	left := func(ctx context.Context, v phases.View) error {
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
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if err := left(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			if there, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || !there {
				return phases.Need(migrate.Before{}, "they come with this restore"), err
			}
			return phases.Done("they are gone"), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
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
