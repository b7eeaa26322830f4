package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
)

// The static pod manifests of the old member and of the API server.
const (
	EtcdManifest      = kube.ManifestsDir + "/etcd.yaml"
	APIServerManifest = kube.ManifestsDir + "/kube-apiserver.yaml"
)

// OldEtcd is the member that kubeadm made on the first control-plane node.
type OldEtcd struct {
	process.Running
	ClientAddress string // where it answers clients, as seen from its host
	PeerAddress   string // where it answers members, as seen from its host
	LocalOnly     bool   // its peer listener is reachable from its host alone
}

// oldEtcdScript prints the processes named etcd with the variables that etcd
// reads, then manifestMark, and then the old member's manifest with its path
// on a line before it, from where it is or was moved to.
func oldEtcdScript() string {
	variables := "echo " + process.EnvironmentMark + `; cat "$d/environ" | tr '\0' '\n' | grep '^ETCD_'; `
	return fmt.Sprintf(process.ProcessScript, "etcd", variables) + fmt.Sprintf(`
echo %s
for f in %s %s; do
[ ! -e "$f" ] || { echo "$f"; cat "$f"; exit; }
done`, manifestMark, EtcdManifest, archivedManifest)
}

const (
	manifestMark     = ".manifest"
	archivedManifest = EtcdArchive + "/etcd.yaml"
)

// OldEtcd finds the old member's process, by one command: nearly every step
// asks for it. Another etcd may run on the node in some pod (a virtual
// cluster's, say), so data folder and name must be those of the static pod
// manifest, or of its archived copy.
//
// A configuration file would make etcd ignore its flags and variables, and is
// refused.
func (v Reader) OldEtcd(ctx context.Context) (OldEtcd, bool, error) {
	old, running, err := v.OldEtcdAsIs(ctx)
	if file, ok := old.Flags.Get("config-file"); err == nil && ok {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: it is configured by --config-file=%s, which this tool does not read: give it flags instead", v.First().Name, file)
	}
	return old, running, err
}

// OldEtcdAsIs is OldEtcd, also of one that this tool cannot deal with.
func (v Reader) OldEtcdAsIs(ctx context.Context) (OldEtcd, bool, error) {
	first := v.On(v.First().Name)
	out, err := first.Look(ctx, remote.Command{Script: oldEtcdScript()})
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: %w", first.Name(), err)
	}
	old, running, err := parseOldEtcd(out)
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: %w", first.Name(), err)
	}
	return old, running, nil
}

// parseOldEtcd reads what oldEtcdScript printed.
func parseOldEtcd(out string) (OldEtcd, bool, error) {
	processes, found, _ := strings.Cut("\n"+out, "\n"+manifestMark+"\n")
	file, text, there := strings.Cut(found, "\n")
	if !there {
		return OldEtcd{}, false, nil
	}
	want, err := kube.ParseManifest([]byte(text))
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("%s: %w", file, err)
	}
	list, variables, err := process.ParseProcesses(processes + "\n")
	if err != nil {
		return OldEtcd{}, false, err
	}
	for i, p := range list {
		if !etcdflags.SameFlag(p.Flags, want.Flags(), "data-dir") || !etcdflags.SameFlag(p.Flags, want.Flags(), "name") {
			continue
		}
		p.Flags = etcdflags.WithVariables(p.Flags, variables[i])
		old := OldEtcd{Running: p}
		old.ClientAddress, _ = etcdflags.ListenAddress(p.Flags, "listen-client-urls")
		old.PeerAddress, old.LocalOnly = etcdflags.ListenAddress(p.Flags, "listen-peer-urls")
		return old, true, nil
	}
	return OldEtcd{}, false, nil
}

// OldEtcdManifest reads the old member's manifest, from the manifests folder
// or from the archive it is moved to.
func (v Reader) OldEtcdManifest(ctx context.Context) (kube.Manifest, error) {
	first := v.On(v.First().Name)
	file, err := first.ReadFile(ctx, EtcdManifest)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = first.ReadFile(ctx, archivedManifest)
	}
	if err != nil {
		return kube.Manifest{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return kube.Manifest{}, fmt.Errorf("on %s, %s: %w", first.Name(), file.Path, err)
	}
	return m, nil
}

// EtcdDataOnHost is the folder of the node in which the old member has its data.
func EtcdDataOnHost(m kube.Manifest) (string, error) {
	inside, ok := etcdflags.ManifestEtcdFlags(m).Get("data-dir")
	if !ok {
		return "", errors.New("the old member's manifest has no --data-dir")
	}
	dir, ok := m.OnHost(inside)
	if !ok {
		return "", fmt.Errorf("the old member's manifest mounts nothing of the node at its --data-dir=%s", inside)
	}
	return dir, nil
}

// EtcdArchive is where the old member's manifest and data go.
const EtcdArchive = hostfiles.StateDir + "/archive/etcd"
