package restore

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
)

const (
	stopControlPlaneID = "restore/stop-control-plane"
	stopEtcdID         = "restore/stop-etcd"
	setAsideID         = "restore/set-aside"
)

// The static pods that write to etcd or through the API, with their names in
// /proc/PID/comm.
var (
	apiServerPod   = pod{"kube-apiserver", "kube-apiserver"}
	controllerPods = []pod{{"kube-controller-manager", "kube-controller"}, {"kube-scheduler", "kube-scheduler"}}
)

type pod struct{ name, comm string }

func (p pod) manifest() string { return path.Join(kube.ManifestsDir, p.name+".yaml") }
func (p pod) parked() string   { return path.Join(phases.ParkedDir, p.name+".yaml") }

// park is a script that moves a manifest away; the copy is whole before the
// manifest goes.
func (p pod) park() string {
	return fmt.Sprintf("[ ! -e %[1]s ] || { cp -p %[1]s %[2]s.part; sync %[2]s.part; mv %[2]s.part %[2]s; rm -f %[1]s; }\n", p.manifest(), p.parked())
}

// unpark is a script that moves it back. The kubelet ignores dot-names.
func (p pod) unpark() string {
	part := path.Join(kube.ManifestsDir, "."+p.name+".yaml.part")
	return fmt.Sprintf("[ ! -e %[2]s ] || { mkdir -p %[4]s; cp -p %[2]s %[3]s; sync %[3]s; mv %[3]s %[1]s; rm -f %[2]s; }\n", p.manifest(), p.parked(), part, kube.ManifestsDir)
}

func allPods() []pod { return append([]pod{apiServerPod}, controllerPods...) }

// The marks of a control-plane node: from then on a pod that runs was brought
// back by this restore and is not stopped again.
func backMark(p pod) string { return p.name + "-back" }

func (o Options) stopControlPlane() phases.Step {
	return phases.Step{
		ID:    stopControlPlaneID,
		Title: "Stop the API server, the controller-manager and the scheduler",
		Why:   "Whatever writes while the data is replaced writes into a cluster that is about to go, or acts on what it remembers.",
		On:    migrate.ControlPlanes,
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if back, err := o.marked(ctx, v, v.Target(), backMark(apiServerPod)); err != nil || back {
				return phases.Done("they were stopped, and are brought back already"), err
			}
			if err := o.stopped(ctx, v, v.Target()); err != nil {
				return phases.Need(migrate.Before{"manifests": "in " + kube.ManifestsDir}, "%v", err), nil
			}
			return phases.Done("none of them runs, and their manifests are in %s", phases.ParkedDir), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			var script strings.Builder
			fmt.Fprintf(&script, "set -eu; umask 077\ninstall -d -m 0700 %s %s\n", phases.StateDir, phases.ParkedDir)
			for _, p := range allPods() {
				script.WriteString(p.park())
			}
			if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script.String()}); err != nil {
				return fmt.Errorf("moving the static pod manifests on %s to %s: %w", h.Target(), phases.ParkedDir, err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.View) error { return o.stopped(ctx, v, v.Target()) },
		OneWay: oneWay,
		Settle: 4 * time.Minute, WaitsFor: "kubelet",
	}
}

// stopped says what still runs on a node, or would be started.
func (o Options) stopped(ctx context.Context, v phases.View, node string) error {
	for _, p := range allPods() {
		if there, err := exists(ctx, v.On(node), p.manifest()); err != nil || there {
			return orErr(err, "%s is in %s on %s", path.Base(p.manifest()), kube.ManifestsDir, node)
		}
		list, err := phases.Processes(ctx, v.On(node), p.comm)
		if err != nil || len(list) > 0 {
			return orErr(err, "%s runs on %s", p.name, node)
		}
	}
	return nil
}

func orErr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}

func (o Options) stopEtcd() phases.Step {
	return phases.Step{
		ID:    stopEtcdID,
		Title: "Stop what is left of the member",
		Why:   "A member of the old cluster must not meet those of the new one; disabled, its host may be rebooted meanwhile.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{stopControlPlaneID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("it was stopped, and its data is restored already"), err
			}
			if err := etcdStopped(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("etcd.service is stopped and disabled"), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			return etcd.Of(h.Spec()).Stop(ctx, h)
		},
		Verify: etcdStopped,
		OneWay: oneWay,
		Settle: 2 * time.Minute, WaitsFor: "etcd",
	}
}

func etcdStopped(ctx context.Context, v phases.View) error {
	return etcd.Of(v.Spec()).Stopped(ctx, v)
}

// dataOf is what etcd's data folder holds of a member.
func dataOf(v phases.View) string { return path.Join(etcd.Of(v.Spec()).Files().Data, "member") }

// lostDir is where what is left of the old data goes on a host. From a disk of
// its own it goes to another name in the data folder, where etcd does not look
// for it: to copy gigabytes to another disk takes minutes, and may fill that
// one.
func (o Options) lostDir(ctx context.Context, v phases.View) (string, error) {
	data := etcd.Of(v.Spec()).Files().Data
	same, err := phases.SameDisk(ctx, v.On(v.Target()), data, phases.StateDir)
	if err != nil || same {
		return path.Join(phases.StateDir, "lost", o.ID), err
	}
	return path.Join(data, "migrate-lost", o.ID), nil
}

func (o Options) setAside() phases.Step {
	return phases.Step{
		ID:    setAsideID,
		Title: "Set aside what is left of the data",
		Why:   "Nothing is deleted: it may be all that is left of the writes since the snapshot.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{stopEtcdID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			lost, err := o.lostDir(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("the data is restored already; what was there before is in %s, if anything was", lost), err
			}
			if there, err := exists(ctx, v.On(v.Target()), dataOf(v)); err != nil || !there {
				return phases.Done("there is no %s", dataOf(v)), err
			}
			return phases.Need(migrate.Before{"goes to": lost}, "there is %s; it goes to %s", dataOf(v), lost), nil
		},
		Apply: o.applySetAside,
		Verify: func(ctx context.Context, v phases.View) error {
			there, err := exists(ctx, v.On(v.Target()), dataOf(v))
			if err != nil || there {
				return orErr(err, "%s is still on %s", dataOf(v), v.Target())
			}
			return nil
		},
		OneWay: oneWay,
		Settle: 10 * time.Second,
	}
}

func (o Options) applySetAside(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	if there, err := exists(ctx, host, dataOf(h.View)); err != nil || !there {
		return err
	}
	lost, err := o.lostDir(ctx, h.View)
	if err != nil {
		return err
	}
	script := fmt.Sprintf("install -d -m 0700 %s %s %s", phases.StateDir, path.Dir(lost), lost)
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making %s on %s: %w", lost, h.Target(), err)
	}
	names, err := host.List(ctx, lost)
	if err != nil {
		return err
	}
	// What a run that was killed has moved stays beside it.
	return host.Rename(ctx, dataOf(h.View), path.Join(lost, fmt.Sprintf("member-%d", len(names)+1)))
}
