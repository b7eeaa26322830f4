package controlplane

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// kubeadmOwn are mounts that kubeadm makes on every control-plane node, beside
// the certificates folder (kubeadm: controlplane/volumes.go).
var kubeadmOwn = []string{
	"/etc/ssl/certs", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/etc/pki", "/etc/pki/ca-trust", "/etc/pki/tls/certs",
	"/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf", "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
}

// nodesOwn are what every node has of its own, or its packages bring: they are
// not carried, not compared, and nothing is written below them.
var nodesOwn = []string{
	"/etc/localtime", "/etc/timezone", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/etc/machine-id", "/etc/os-release",
	"/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/cni", "/etc/systemd", "/etc/containerd", "/etc/crio",
	"/usr/share", "/usr/local/share/ca-certificates", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/bin", "/usr/sbin", "/lib", "/lib64", "/bin", "/sbin",
	"/var/lib/dbus", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/etcd", hostfiles.StateDir, "/run", "/var/run", "/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/boot", kube.ManifestsDir,
}

// packagesOwn are the names that packages of a distribution make in two folders
// that are each node's own. What else is in these is the operator's, such as
// /etc/pki/oidc. Kubespray keeps the keys of each host's etcd in /etc/ssl/etcd.
var packagesOwn = map[string][]string{
	"/etc/ssl": {"certs", "private", "openssl.cnf", "openssl.cnf.d", "ct_log_list.cnf", "cert.pem", "ca-bundle.pem", "misc", "engines.d", "engdef.d", "servercerts", "etcd"},
	"/etc/pki": {"ca-trust", "trust", "tls", "CA", "rpm-gpg", "rpm-config", "java", "nssdb", "nss-legacy", "consumer", "product", "product-default", "entitlement", "entitlement-host",
		"swid", "fwupd", "fwupd-metadata", "fwupd-metadata-rhsm", "lvfs", "libvirt", "qemu", "pesign", "akmods", "cockpit", "rsyslog", "sos", "rhsm", "content", "insights-client"},
}

// tooWide are folders that hold what is a node's own.
var tooWide = []string{"/", "/etc", "/etc/kubernetes", "/var", "/var/lib", "/usr", "/usr/local", "/root", "/home"}

func isNodesOwn(p string) bool {
	for dir, names := range packagesOwn {
		if below, ok := strings.CutPrefix(p, dir+"/"); ok {
			name, _, _ := strings.Cut(below, "/")
			return slices.Contains(names, name)
		}
	}
	return slices.ContainsFunc(nodesOwn, func(own string) bool { return kube.Within(p, own) })
}

// source is the first node's control plane with the files that it reads.
type source struct {
	manifests []kube.Manifest
	written   kube.Written
	// pki are the names of the certificates folder: what kubeadm makes in it is
	// left to kubeadm.
	pki []string
	// external are the files of etcd.external, which kubeadm uploads and brings.
	external []string
	// roots are the mounts to carry; own are those that stay each node's own.
	roots, own []kube.HostPath
}

// ofKubeadm says whether a file is one that kubeadm makes or distributes.
func (s source) ofKubeadm(p string) bool {
	return slices.ContainsFunc(s.pki, func(dir string) bool {
		return kube.Within(p, dir) && (p == dir || p == dir+"/etcd" || kube.OfKubeadm(strings.TrimPrefix(p, dir+"/")))
	})
}

// readSource reads the three manifests of the first node.
func readSource(ctx context.Context, v phases.Reader) (source, error) {
	first := v.On(v.First().Name)
	var s source
	k, err := v.Kube(ctx)
	if err != nil {
		return source{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return source{}, err
	}
	if e, ok := cc.ExternalEtcd(); ok {
		s.external = []string{e.CAFile, e.CertFile, e.KeyFile}
	}
	if s.pki, err = kubeadm.CertificatesFolders(ctx, first, cc); err != nil {
		return source{}, err
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		f, err := first.ReadFile(ctx, path.Join(kube.ManifestsDir, name+".yaml"))
		if err != nil {
			return source{}, err
		}
		m, err := kube.ParseManifest(f.Data)
		if err != nil {
			return source{}, fmt.Errorf("on %s, %s: %w", first.Name(), f.Path, err)
		}
		s.manifests = append(s.manifests, m)
		s.written = s.written.Join(m.Written())
		for _, hp := range m.HostPaths() {
			switch {
			case slices.Contains(kubeadmOwn, hp.Path), s.ofKubeadm(hp.Path):
			case slices.Contains(tooWide, hp.Path):
				return source{}, fmt.Errorf("on %s, %s mounts the whole of %s: this tool does not know which of its files belong to the node; mount the files or a folder of their own", first.Name(), f.Path, hp.Path)
			case isNodesOwn(hp.Path):
				s.own = append(s.own, hp)
			default:
				s.roots = append(s.roots, hp)
			}
		}
	}
	return s, nil
}

// readOnlyList lists the files and links below the mounts that the pods only
// read. What another mount lets them write to, and what they log, is left out:
// so is all of /var/log.
func (s source) readOnlyList(ctx context.Context, first remote.Reader) ([]string, error) {
	var script strings.Builder
	var writable []string
	for _, hp := range s.roots {
		if !hp.ReadOnly || kube.Within(hp.Path, "/var/log") {
			writable = append(writable, hp.Path)
			continue
		}
		// The slash leads through a root that is a link itself.
		fmt.Fprintf(&script, "[ ! -d %[1]s ] || find %[1]s/ -type f -o -type l\n", remote.Quote(hp.Path))
	}
	if script.Len() == 0 {
		return nil, nil
	}
	text, err := first.Look(ctx, remote.Command{Script: script.String()})
	if err != nil {
		return nil, fmt.Errorf("listing what the control plane of %s mounts: %w", first.Name(), err)
	}
	var out []string
	for p := range strings.SplitSeq(text, "\n") {
		p = path.Clean(p)
		if p == "." || s.written.Has(p) || slices.ContainsFunc(writable, func(dir string) bool { return kube.Within(p, dir) }) || !s.carries(p) {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// carries says whether a path may be carried at all.
func (s source) carries(p string) bool {
	return !isNodesOwn(p) && !s.ofKubeadm(p) && !slices.Contains(kubeadmOwn, p) && !s.written.Has(p)
}
