package controlplane

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// undoJoin takes the node out of the cluster and makes its host what it was. A
// host that the step did not join is left alone.
func undoJoin(ctx context.Context, h phases.Hands, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	s, err := whereItStands(ctx, h.View)
	if err != nil {
		return err
	}
	switch {
	case s.begun || s.leaving || s.plane:
		return unjoin(ctx, h, k, before)
	case s.node:
		return fmt.Errorf("%s is a worker of this cluster now: it stays; drain it and run `kubeadm reset` on it if it is to go", h.Target())
	case s.kubelet:
		return fmt.Errorf("%s has an /etc/kubernetes/kubelet.conf and is no node of this cluster: run `kubeadm reset` on it if nobody needs what it is part of", h.Target())
	}
	return nil
}

// unjoin takes back what an attempt of ours did, whole or in part: also before
// another one, because kubeadm's preflight refuses to go on from there. The
// markers go when all is as it was, so that it is begun again until then.
func unjoin(ctx context.Context, h phases.Hands, k kube.Client, before migrate.Before) error {
	if err := leave(ctx, h, k); err != nil {
		return err
	}
	if err := tidySecrets(ctx, h, k); err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := putForeignBack(ctx, host); err != nil {
		return err
	}
	// A reset empties the certificates folder, files of the operator's with it.
	if err := applyHostFiles(ctx, h, nil); err != nil {
		return err
	}
	if err := kubeletAsBefore(ctx, host, before["kubelet"]); err != nil {
		return err
	}
	if err := host.Remove(ctx, joinMarker); err != nil {
		return err
	}
	if err := host.Remove(ctx, leaveMarker); err != nil {
		return err
	}
	return forgetForeign(ctx, host)
}

// saveForeign keeps the files that a join may replace and a reset removes
// (kubeadm: cmd/phases/reset/cleanupnode.go), with their modes and owners, in
// the step's backup folder. It comes before the marker, so what a join of ours
// made is never among them.
func saveForeign(ctx context.Context, host remote.Host, certificates string) error {
	script := "{ find " + remote.Quote(certificates) + " -type f; for f in /etc/kubernetes/*.conf /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env; do [ ! -f \"$f\" ] || echo \"$f\"; done; } 2>/dev/null"
	out, err := host.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return fmt.Errorf("listing what is in the folders of kubeadm on %s: %w", host.Name(), err)
	}
	files := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	if len(files) == 0 {
		return nil
	}
	return phases.Backup(ctx, host, joinID, files...)
}

// putForeignBack restores them; each is whole or not there at any instant.
func putForeignBack(ctx context.Context, host remote.Host) error {
	is, err := savedForeign(ctx, host)
	if err != nil || !is {
		return err
	}
	script := "set -e; d=" + remote.Quote(phases.BackupDir(joinID)) + `
find "$d" -type f | while IFS= read -r f; do
case $f in *.part) continue;; esac
t=${f#"$d"}; mkdir -p "${t%/*}"; cp -p "$f" "$t.migrate"; mv "$t.migrate" "$t"
done`
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("putting the files of before the join back on %s: %w", host.Name(), err)
	}
	return nil
}

func forgetForeign(ctx context.Context, host remote.Host) error {
	is, err := savedForeign(ctx, host)
	if err != nil || !is {
		return err
	}
	if _, err := host.Run(ctx, remote.Cmd("rm", "-rf", phases.BackupDir(joinID))); err != nil {
		return fmt.Errorf("removing the copies of before the join on %s: %w", host.Name(), err)
	}
	return nil
}

func savedForeign(ctx context.Context, r remote.Reader) (bool, error) {
	out, err := r.Look(ctx, remote.Command{Script: "if [ -d " + remote.Quote(phases.BackupDir(joinID)) + " ]; then echo yes; fi"})
	return strings.TrimSpace(out) == "yes", err
}

// kubeletState is the kubelet's ActiveState. Where the package has started it
// before there was a cluster it is "activating": it ends and is started again.
func kubeletState(ctx context.Context, r remote.Reader) (string, error) {
	out, err := r.Look(ctx, remote.Cmd("systemctl", "show", "-p", "ActiveState", "--value", "kubelet.service"))
	if err != nil {
		return "", fmt.Errorf("asking systemd on %s for the kubelet: %w", r.Name(), err)
	}
	return strings.TrimSpace(out), nil
}

// kubeletAsBefore starts the kubelet where it was tried before; a reset leaves
// it stopped. Whether it is enabled is nothing that kubeadm changes.
func kubeletAsBefore(ctx context.Context, host remote.Host, before string) error {
	if before != "active" && before != "activating" {
		return nil
	}
	now, err := kubeletState(ctx, host)
	if err != nil || now == before {
		return err
	}
	var exit *remote.ExitError
	if _, err := host.Run(ctx, remote.Cmd("systemctl", "start", "--no-block", "kubelet")); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("starting the kubelet on %s: %w", host.Name(), err)
	}
	return nil
}
