package verify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/overlap"
)

// planes are the names of the control-plane nodes of the spec.
func planes(v phases.Reader) []string {
	out := []string{v.First().Name}
	for _, h := range v.Spec().ControlPlane.Joining {
		out = append(out, h.Name)
	}
	return out
}

// apiAddresses are host:port of all API servers, in the order of planes.
func apiAddresses(ctx context.Context, v phases.Reader) ([]string, error) {
	var out []string
	for _, node := range planes(v) {
		address, err := v.APIAddress(ctx, node)
		if err != nil {
			return nil, err
		}
		out = append(out, address)
	}
	return out, nil
}

// clusterRoots are the cluster's CA certificates.
func clusterRoots(ctx context.Context, v phases.Reader) (*x509.CertPool, error) {
	ca, err := v.AdminCA(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the admin kubeconfig holds no CA certificate")
	}
	return roots, nil
}

func controlPlaneNode(ctx context.Context, v phases.Reader) ([]Finding, error) {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	n, there := nodes[v.Target()]
	switch {
	case !there:
		return []Finding{not("`migrate run --phase 3` joins it", "the cluster has no node of that name")}, nil
	case !kube.IsControlPlane(n):
		return []Finding{not("`migrate run --phase 3` joins it", "its node is no control-plane node")}, nil
	case !kube.Ready(n):
		return []Finding{not("", "its node is not Ready")}, nil
	}
	return []Finding{so("Ready, kubelet %s", n.Status.NodeInfo.KubeletVersion)}, nil
}

// apiServer asks it itself, from its own node, and compares what it serves
// with what the first one serves: an API server on another etcd is ready, too.
func apiServer(ctx context.Context, v phases.Reader) ([]Finding, error) {
	cfg, err := v.AdminConfigOn(ctx, v.Target())
	if err != nil {
		return nil, err
	}
	if err := kube.Readyz(ctx, cfg); err != nil {
		return []Finding{not("", "%v", err)}, nil
	}
	here, err := v.KubeOn(ctx, v.Target())
	if err != nil {
		return nil, err
	}
	there, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	mine, err := here.Identity(ctx)
	if err != nil {
		return nil, err
	}
	want, err := there.Identity(ctx)
	if err != nil {
		return nil, err
	}
	if mine != want {
		return []Finding{not("stop sending clients to it, and look at its --etcd-servers", "it serves another cluster (%s) than the first API server (%s)", mine, want)}, nil
	}
	return []Finding{so("/readyz says ok")}, nil
}

// apiServerEtcd reads the arguments of the process, and those of the manifest
// from which the next one will be started.
func apiServerEtcd(ctx context.Context, v phases.Reader) ([]Finding, error) {
	want := slices.Sorted(slices.Values(etcd.Of(v.Spec()).Servers(v.Spec(), v.Target())))
	p, running, err := v.APIServer(ctx, v.Target())
	if err != nil {
		return nil, err
	}
	if !running {
		return []Finding{not("", "no API server runs on it")}, nil
	}
	file, err := v.On(v.Target()).ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return nil, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Path, err)
	}
	var wrong []string
	for _, place := range []struct {
		what  string
		flags kube.Flags
	}{{"the running one has", p.Flags}, {"its manifest has", m.Flags()}} {
		text, _ := place.flags.Get("etcd-servers")
		have := strings.Split(text, ",")
		slices.Sort(have)
		if !slices.Equal(have, want) {
			wrong = append(wrong, fmt.Sprintf("%s --etcd-servers=%s, not %s", place.what, text, strings.Join(want, ",")))
		}
	}
	return passOrFail(wrong, "--etcd-servers names all %d members", len(want)), nil
}

// components compares manifests and processes with the first node's.
func components(ctx context.Context, v phases.Reader) ([]Finding, error) {
	err := controlplane.SameComponents(ctx, v, v.Target())
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{not("`migrate run --phase 3` joins it", "it has no control plane: %v", err)}, nil
	}
	if err != nil {
		return []Finding{not("make the difference go, or write it to kubeadm-config and to the manifests of every node", "%v", err)}, nil
	}
	return []Finding{so("API server, controller-manager and scheduler are those of %s, but for its own address", v.First().Name)}, nil
}

// servingCertificate looks at the wire and at the file behind it.
func servingCertificate(ctx context.Context, v phases.Reader) ([]Finding, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return nil, err
	}
	roots, err := clusterRoots(ctx, v)
	if err != nil {
		return nil, err
	}
	cert, err := kube.ServedCertificate(ctx, v.On(v.Target()).DialContext, address, roots)
	if err != nil {
		return []Finding{not("", "%v", err)}, nil
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	service, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return nil, err
	}
	var wrong []string
	names := append(loadbalancer.EndpointNames(v), service, "kubernetes.default.svc")
	if missing := kube.MissingNames(cert, names); len(missing) > 0 {
		wrong = append(wrong, "the certificate lacks "+strings.Join(missing, ", "))
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	file := path.Join(cc.CertificatesDir(), "apiserver.crt")
	if p, running, err := v.APIServer(ctx, v.Target()); err == nil && running {
		if name, ok := p.Flags.Get("tls-cert-file"); ok {
			file = name
		}
	}
	same, err := holds(ctx, v.On(v.Target()), file, cert)
	if err != nil {
		return nil, err
	}
	if !same {
		wrong = append(wrong, "it does not show what "+file+" holds")
	}
	return passOrFail(wrong, "until %s, with %s", cert.NotAfter.Format(time.DateOnly), strings.Join(names, ", ")), nil
}

// noEtcd looks for what kubeadm's etcd consists of: process, manifest, mirror
// pod, data, and listeners.
func noEtcd(ctx context.Context, v phases.Reader) ([]Finding, error) {
	var wrong []string
	host := v.On(v.Target())
	if _, err := host.ReadFile(ctx, phases.EtcdManifest); err == nil {
		wrong = append(wrong, phases.EtcdManifest+" is there")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if v.Target() == v.First().Name {
		if _, running, err := v.OldEtcd(ctx); err != nil {
			return nil, err
		} else if running {
			wrong = append(wrong, "the old member's process runs")
		}
	}
	data, err := kubeadmData(ctx, v)
	if err != nil {
		return nil, err
	}
	out, err := host.Look(ctx, remote.Command{Script: "[ ! -e " + remote.Quote(data) + " ] || echo data; ss -Hltn"})
	if err != nil {
		return nil, fmt.Errorf("looking for etcd on %s: %w", v.Target(), err)
	}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		switch {
		case strings.TrimSpace(line) == "data":
			wrong = append(wrong, data+" holds data")
		case len(words) > 3:
			if _, port, err := net.SplitHostPort(words[3]); err == nil && (port == "2379" || port == "2380") {
				wrong = append(wrong, "something listens at "+words[3])
			}
		}
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := k.Pods(ctx, "kube-system", "component=etcd")
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if p.Spec.NodeName == v.Target() {
			wrong = append(wrong, "there is the pod "+p.Name)
		}
	}
	return passOrFail(wrong, "no process, manifest, data, listener or pod"), nil
}

// kubeadmData is where kubeadm's etcd would have its data on the target: for
// the old member what its archived manifest says.
func kubeadmData(ctx context.Context, v phases.Reader) (string, error) {
	const usual = "/var/lib/etcd/member"
	if v.Target() != v.First().Name {
		return usual, nil
	}
	m, err := v.OldEtcdManifest(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return usual, nil
	}
	if err != nil {
		return "", err
	}
	dir, err := phases.EtcdDataOnHost(m)
	return path.Join(dir, "member"), err
}

// leftovers looks for the temporary API server of an overlap and, on the first
// node, for what a join was given.
func leftovers(ctx context.Context, v phases.Reader) ([]Finding, error) {
	var wrong []string
	if _, err := v.On(v.Target()).ReadFile(ctx, overlap.ManifestPath); err == nil {
		wrong = append(wrong, overlap.ManifestPath+" is there")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list, err := apiserver.Processes(ctx, v.On(v.Target()))
	if err != nil {
		return nil, err
	}
	if len(list) > 1 {
		wrong = append(wrong, fmt.Sprintf("%d API servers run on it", len(list)))
	}
	if v.Target() == v.First().Name {
		k, err := v.Kube(ctx)
		if err != nil {
			return nil, err
		}
		there, err := k.HasSecret(ctx, "kube-system", "kubeadm-certs")
		if err != nil {
			return nil, err
		}
		if there {
			wrong = append(wrong, "the Secret kube-system/kubeadm-certs is there")
		}
	}
	return passOrFail(wrong, "nothing"), nil
}
