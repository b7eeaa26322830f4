package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// saveForeign keeps the files that a join may replace and a reset removes
// (kubeadm: cmd/phases/reset/cleanupnode.go), with their modes and owners, in
// the step's backup folder, links as links. It comes before the marker, so what
// a join of ours made is never among them.
//
// A reset empties the certificates folder and the kubelet's also where their
// names are links: the slash leads through. What is in folders of the kubelet's
// is volumes, and none of a host that is no node.
func saveForeign(ctx context.Context, host remote.Host, certificates string) error {
	out, err := host.Look(ctx, remote.Command{Script: foreignScript(certificates)})
	if err != nil {
		return fmt.Errorf("listing what is in the folders of kubeadm on %s: %w", host.Name(), err)
	}
	var files, links []string
	for line := range strings.Lines(out) {
		kind, p, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "file":
			files = append(files, p)
		case "link":
			links = append(links, p)
		}
	}
	if err := saveLinks(ctx, host, links); err != nil || len(files) == 0 {
		return err
	}
	return hostfiles.Backup(ctx, host, joinID, files...)
}

// foreignScript lists them. What can't be listed is not reset: in a pipe a find
// that fails would be unseen.
func foreignScript(certificates string) string {
	return "set -eu; d=" + remote.Quote(certificates) + "; ca=" + remote.Quote(caOfKubelet(certificates)) + `
list=$([ ! -d "$d" ] || find "$d/" -type f -o -type l || exit 1
for f in /etc/kubernetes/*.conf /var/lib/kubelet/* "$ca"; do printf '%s\n' "$f"; done) || exit 1
printf '%s\n' "$list" | while IFS= read -r f; do
if [ -L "$f" ]; then printf 'link %s\n' "$f"; elif [ -f "$f" ]; then printf 'file %s\n' "$f"; fi
done`
}

const kubeletCA = "/etc/kubernetes/pki/ca.crt"

// caOfKubelet is the file to which a join writes the cluster's CA where it is
// none of the certificates folder, so that no reset removes it: kubeadm has a
// place of its own for it (kubeadm: v1beta4 JoinConfiguration.caCertPath, whose
// default it is; cmd/phases/join/kubelet.go).
func caOfKubelet(certificates string) string {
	if kube.Within(kubeletCA, certificates) {
		return ""
	}
	return kubeletCA
}

// saveLinks does for symbolic links what hostfiles.Backup does for files, whose
// copy would be one of what the link leads to.
func saveLinks(ctx context.Context, host remote.Host, links []string) error {
	if len(links) == 0 {
		return nil
	}
	var script strings.Builder
	script.WriteString("set -eu; umask 077\n")
	for _, l := range links {
		to := path.Join(hostfiles.BackupDir(joinID), l)
		fmt.Fprintf(&script, "[ -L %[2]s ] || { mkdir -p %[3]s; cp -P %[1]s %[2]s; }\n", remote.Quote(l), remote.Quote(to), remote.Quote(path.Dir(to)))
	}
	if _, err := host.Run(ctx, remote.Command{Script: script.String()}); err != nil {
		return fmt.Errorf("saving the links %s on %s as they were: %w", strings.Join(links, ", "), host.Name(), err)
	}
	return nil
}

// putForeignBack restores them; each is whole or not there at any instant.
func putForeignBack(ctx context.Context, host remote.Host) error {
	is, err := savedForeign(ctx, host)
	if err != nil || !is {
		return err
	}
	script := "set -e; d=" + remote.Quote(hostfiles.BackupDir(joinID)) + `
list=$(find "$d/" -type f -o -type l) || exit 1
printf '%s\n' "$list" | while IFS= read -r f; do
case $f in ''|*.part) continue;; esac
t=${f#"$d"}; mkdir -p "${t%/*}"; rm -f "$t.migrate"
if [ -L "$f" ]; then cp -P "$f" "$t.migrate"; else cp -p "$f" "$t.migrate"; fi
mv -fT "$t.migrate" "$t"
done`
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("restoring the files from before the join on %s: %w", host.Name(), err)
	}
	return nil
}

func forgetForeign(ctx context.Context, host remote.Host) error {
	is, err := savedForeign(ctx, host)
	if err != nil || !is {
		return err
	}
	if _, err := host.Run(ctx, remote.Cmd("rm", "-rf", hostfiles.BackupDir(joinID))); err != nil {
		return fmt.Errorf("removing the copies from before the join on %s: %w", host.Name(), err)
	}
	return nil
}

func savedForeign(ctx context.Context, r remote.Reader) (bool, error) {
	out, err := r.Look(ctx, remote.Command{Script: "if [ -d " + remote.Quote(hostfiles.BackupDir(joinID)) + " ]; then echo yes; fi"})
	return strings.TrimSpace(out) == "yes", err
}

// kubeletState is the kubelet's ActiveState. Where the package has started it
// before there was a cluster it is "activating": it ends and is started again.
func kubeletState(ctx context.Context, r remote.Reader) (string, error) {
	out, err := r.Look(ctx, remote.Program("systemctl", "show", "-p", "ActiveState", "--value", "kubelet.service"))
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
	if _, err := host.Run(ctx, remote.Program("systemctl", "start", "--no-block", "kubelet")); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("starting the kubelet on %s: %w", host.Name(), err)
	}
	return nil
}
