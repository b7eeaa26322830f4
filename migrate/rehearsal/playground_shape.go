// Package rehearsal is what comes of a rehearsal: the shape of playground for a cluster, what
// is kept beside its journal, and the comparison of both strategies.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/playground/build"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
)

// realShape is what a playground is to have of a real cluster. It is read
// without changing anything, and holds no secret: files that the API server
// mounts are named, and not read.
type realShape struct {
	Kubernetes   string // "v1.33.4"
	KubeadmAPI   string // "kubeadm.k8s.io/v1beta4"
	ExternalEtcd bool   // there is no etcd on the first node any more
	EtcdClient   string // --listen-client-urls of the etcd there
	Flags        kube.Flags
	Mounts       []kube.HostPath
	Workers      int
}

// readShape looks at the first control-plane node and at the Nodes.
func readShape(ctx context.Context, v phases.Reader) (realShape, error) {
	var s realShape
	k, err := v.Kube(ctx)
	if err != nil {
		return s, err
	}
	if s.Kubernetes, err = k.Version(); err != nil {
		return s, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return s, err
	}
	s.KubeadmAPI = cc.APIVersion()
	workers, err := v.Workers(ctx)
	if err != nil {
		return s, err
	}
	s.Workers = len(workers)
	first := v.First().Name
	api, err := readManifestOn(ctx, v, first, phases.APIServerManifest)
	if err != nil {
		return s, err
	}
	s.Flags, s.Mounts = api.Flags(), api.HostPaths()
	member, err := readManifestOn(ctx, v, first, phases.EtcdManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.ExternalEtcd = true
	case err != nil:
		return s, err
	default:
		s.EtcdClient, _ = member.Flags().Get("listen-client-urls")
	}
	return s, nil
}

func readManifestOn(ctx context.Context, v phases.Reader, host, file string) (kube.Manifest, error) {
	f, err := v.On(host).ReadFile(ctx, file)
	if err != nil {
		return kube.Manifest{}, err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return kube.Manifest{}, fmt.Errorf("%s on %s: %w", file, host, err)
	}
	return m, nil
}

// mostWorkers is how many workers a playground gets: more of them do the same
// one after the other, and one machine carries them all.
const mostWorkers = 4

// fromShape is the playground of a shape, and what it lacks of the real
// cluster. It decides and looks at nothing.
func fromShape(s realShape, spec cluster.Spec) (playground.Options, []string) {
	var lacks []string
	lack := func(format string, args ...any) { lacks = append(lacks, fmt.Sprintf(format, args...)) }
	o := playground.Options{EtcdListen: playground.EtcdOnHost, Workers: s.Workers}
	var exact bool
	if o.Kubernetes, exact = nearestKubernetes(s.Kubernetes); !exact {
		lack("Kubernetes %s (it has %s)", minor(s.Kubernetes), minor(o.Kubernetes))
	}
	if !strings.HasSuffix(s.KubeadmAPI, "/v1beta4") {
		lack("a kubeadm-config in %s (kubeadm %s writes v1beta4)", s.KubeadmAPI, minor(o.Kubernetes))
	}
	switch {
	case s.ExternalEtcd:
		lack("an etcd that is external already (its etcd is on the first node)")
	case onLocalhostOnly(s.EtcdClient):
		o.EtcdListen = playground.EtcdOnLocalhost
	}
	switch {
	case s.Workers == 0:
		o.Workers = -1 // 0 asks for the default
	case s.Workers > mostWorkers:
		o.Workers = mostWorkers
		lack("%d workers (it has %d)", s.Workers, mostWorkers)
	}
	if user := spec.ControlPlane.First.SSH.User; user != "" && user != "root" {
		o.SudoUser = "operator"
	}
	lacks = append(lacks, hostsLacking(spec)...)
	lacks = append(lacks, likeAPIServer(&o, s)...)
	return o, lacks
}

// nearestKubernetes is the version that a playground can have of the same
// minor, else the nearest one, and whether it is of the same.
func nearestKubernetes(v string) (string, bool) {
	versions := build.Versions()
	best := versions[0]
	for _, have := range versions {
		if minor(have) == minor(v) {
			return have, true
		}
		if minorNumber(have) <= minorNumber(v) {
			best = have
		}
	}
	return best, false
}

func minorNumber(v string) int {
	var n int
	_, number, _ := strings.Cut(minor(v), ".")
	_, _ = fmt.Sscan(number, &n)
	return n
}

// onLocalhostOnly says whether an etcd is reached from its own host alone: the
// shape in which its listeners have to be relayed.
func onLocalhostOnly(urls string) bool {
	if urls == "" {
		return false
	}
	return !slices.ContainsFunc(strings.Split(urls, ","), func(u string) bool {
		return !strings.Contains(u, "//127.0.0.1:") && !strings.Contains(u, "//localhost:")
	})
}

// hostsLacking compares the spec's hosts with those that every playground has.
func hostsLacking(spec cluster.Spec) []string {
	var lacks []string
	for _, g := range []struct {
		what      string
		want, has int
	}{
		{"load balancers", len(spec.LoadBalancer.Hosts), 1},
		{"etcd hosts", len(spec.Etcd.Hosts), 3},
		{"joining control-plane nodes", len(spec.ControlPlane.Joining), 2},
	} {
		if g.want > g.has {
			lacks = append(lacks, fmt.Sprintf("%d %s (it has %d)", g.want, g.what, g.has))
		}
	}
	if lb := balancers.Of(spec); !lb.Configured() {
		lacks = append(lacks, "your external load balancer (it has nginx)")
	} else if lb.Kind != balancers.Kinds()[0] {
		lacks = append(lacks, lb.Machine+" (it has nginx)")
	}
	return lacks
}

// The API server's flags that a playground's gets with the real one's value:
// those that need nothing else to be there.
var likeFlags = []string{
	"authorization-mode", "default-not-ready-toleration-seconds", "default-unreachable-toleration-seconds", "default-watch-cache-size",
	"disable-admission-plugins", "enable-admission-plugins", "event-ttl", "feature-gates", "goaway-chance", "max-mutating-requests-inflight",
	"max-requests-inflight", "min-request-timeout", "profiling", "request-timeout", "runtime-config", "service-node-port-range",
	"tls-cipher-suites", "tls-min-version", "v", "watch-cache",
}

// kubeadmFlags are those that kubeadm sets by itself (kubeadm:
// phases/controlplane.getAPIServerCommand), and what a playground decides.
var kubeadmFlags = []string{
	"advertise-address", "allow-privileged", "client-ca-file", "enable-bootstrap-token-auth", "etcd-cafile", "etcd-certfile", "etcd-keyfile",
	"etcd-servers", "kubelet-client-certificate", "kubelet-client-key", "kubelet-preferred-address-types", "proxy-client-cert-file",
	"proxy-client-key-file", "requestheader-allowed-names", "requestheader-client-ca-file", "requestheader-extra-headers-prefix",
	"requestheader-group-headers", "requestheader-username-headers", "secure-port", "service-account-issuer", "service-account-key-file",
	"service-account-signing-key-file", "service-cluster-ip-range", "tls-cert-file", "tls-private-key-file",
}

// likeAPIServer takes over the flags and mounts that can be taken over.
func likeAPIServer(o *playground.Options, s realShape) []string {
	var lacks []string
	_, audited := s.Flags.Get("audit-policy-file")
	_, encrypted := s.Flags.Get("encryption-provider-config")
	o.Hardened = audited || encrypted
	for _, f := range s.Flags {
		switch {
		case f.Name == "authorization-mode" && f.Value != "Node,RBAC" && f.Value != "RBAC,Node":
			lacks = append(lacks, "--authorization-mode="+f.Value)
		case slices.Contains(kubeadmFlags, f.Name), f.Name == "authorization-mode", f.Name == "encryption-provider-config", strings.HasPrefix(f.Name, "audit-"):
		case slices.Contains(likeFlags, f.Name):
			o.APIServerArgs = append(o.APIServerArgs, playground.Argument{Name: f.Name, Value: f.Value})
		default:
			lacks = append(lacks, "--"+f.Name)
		}
	}
	for _, m := range s.Mounts {
		switch {
		case usualMount(m.Path), hardenedMount(s.Flags, m.Path):
		case m.Type == "Socket" || !mountable(m.Path):
			lacks = append(lacks, "the mount "+m.Path)
		default:
			o.APIServerMounts = append(o.APIServerMounts, playground.Mount{Path: m.Path, ReadOnly: m.ReadOnly, File: m.Type == "File" || m.Type == "FileOrCreate"})
		}
	}
	return lacks
}

// usualMount are kubeadm's own (kubeadm: phases/controlplane.getHostPathVolumesForTheControlPlane).
func usualMount(p string) bool {
	return slices.Contains([]string{"/etc/ssl/certs", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		"/etc/pki", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/kubernetes/pki"}, p)
}

// hardenedMount says whether a mount is there for auditing or encryption: a
// hardened playground has its own for them.
func hardenedMount(flags kube.Flags, p string) bool {
	for _, name := range []string{"audit-policy-file", "audit-log-path", "audit-webhook-config-file", "encryption-provider-config"} {
		if file, ok := flags.Get(name); ok && (file == p || path.Dir(file) == p || strings.HasPrefix(file, p+"/")) {
			return true
		}
	}
	return false
}

// mountable folders may be made on a playground's host without harm to it.
func mountable(p string) bool {
	return slices.ContainsFunc([]string{"/etc/kubernetes/", "/var/lib/", "/var/log/", "/opt/", "/srv/"}, func(under string) bool {
		return strings.HasPrefix(p, under)
	}) && !strings.HasPrefix(p, "/var/lib/kubelet") && !strings.HasPrefix(p, "/var/lib/etcd") && !strings.HasPrefix(p, "/var/lib/containerd")
}

// PlaygroundLike reads the cluster of a spec, and derives the playground from it.
func PlaygroundLike(ctx context.Context, v phases.Reader, spec cluster.Spec) (playground.Options, []string, error) {
	shape, err := readShape(ctx, v)
	if err != nil {
		return playground.Options{}, nil, fmt.Errorf("reading the shape of %s: %w", spec.Name, err)
	}
	o, lacks := fromShape(shape, spec)
	return o, lacks, nil
}
