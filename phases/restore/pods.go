package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// The static pods that write to etcd or through the API, with their names in
// /proc/PID/comm.
var (
	apiServerPod   = pod{"kube-apiserver", "kube-apiserver"}
	controllerPods = []pod{{"kube-controller-manager", "kube-controller"}, {"kube-scheduler", "kube-scheduler"}}
)

type pod struct{ name, comm string }

func (p pod) manifest() string { return path.Join(kube.ManifestsDir, p.name+".yaml") }

func (p pod) disabled() string { return path.Join(phases.DisabledDir, p.name+".yaml") }

// park is a script that moves a manifest away; the copy is whole before the
// manifest goes.
func (p pod) park() string {
	return fmt.Sprintf("[ ! -e %[1]s ] || { cp -p %[1]s %[2]s.part; sync %[2]s.part; mv %[2]s.part %[2]s; rm -f %[1]s; }\n", p.manifest(), p.disabled())
}

// unpark is a script that moves it back. The kubelet ignores dot-names.
func (p pod) unpark() string {
	part := path.Join(kube.ManifestsDir, "."+p.name+".yaml.part")
	return fmt.Sprintf("[ ! -e %[2]s ] || { mkdir -p %[4]s; cp -p %[2]s %[3]s; sync %[3]s; mv %[3]s %[1]s; rm -f %[2]s; }\n", p.manifest(), p.disabled(), part, kube.ManifestsDir)
}

func allPods() []pod { return append([]pod{apiServerPod}, controllerPods...) }

// The marks of a control-plane node: from then on a pod that runs was brought
// back by this restore and is not stopped again.
func backMark(p pod) string { return p.name + "-back" }

func orErr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}

// back wants a pod's manifest brought back by this restore.
func (o Options) back(ctx context.Context, v phases.Reader, p pod) error {
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
func (o Options) bringBack(ctx context.Context, h phases.Writer, pods ...pod) error {
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

func manifestSomewhere(ctx context.Context, v phases.Reader) error {
	_, err := v.APIServerManifest(ctx, v.Target())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kube-apiserver.yaml on %s is neither in %s nor in %s", v.Target(), kube.ManifestsDir, phases.DisabledDir)
	}
	return err
}
