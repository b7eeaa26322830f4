package initspec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"

	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Found is what the live cluster is like.
type Found struct {
	// Cluster is kubeadm's clusterName.
	Cluster           string `json:"cluster"`
	KubernetesVersion string `json:"kubernetesVersion"`
	// KubeadmAPI is the version of kubeadm-config, kubeadm.k8s.io/v1beta4.
	KubeadmAPI string `json:"kubeadmAPI"`
	// ControlPlaneEndpoint is kubeadm's, "" where there is none yet.
	ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
	ServiceSubnet        string `json:"serviceSubnet"`
	PodSubnet            string `json:"podSubnet"`
	// First is the control-plane node, at the address that its API server
	// advertises.
	First   Node   `json:"first"`
	APIPort string `json:"apiPort"`
	Etcd    Etcd   `json:"etcd"`
	// Workers are all other nodes, by name.
	Workers []Node `json:"workers"`
	// Notes are sentences about what is unusual.
	Notes []string `json:"notes"`
}

// Node is a node of the cluster.
type Node struct {
	Name      string   `json:"name"`
	Address   string   `json:"address"`   // its InternalIP; of the first, what is advertised
	Addresses []string `json:"addresses"` // all internal ones
	Version   string   `json:"version"`   // the kubelet's
	OS        string   `json:"os"`
	Ready     bool     `json:"ready"`
	// Known are more addresses that lead to it, its ExternalIPs: hosts of an
	// inventory are recognised by them.
	Known []string `json:"-"`
	// Shown are those that the host itself has, where it was asked.
	Shown []string `json:"-"`
}

// Etcd is the one member.
type Etcd struct {
	Version string `json:"version"`
	Name    string `json:"name"`
	// PeerURLs are those of the member list, which count, whatever the
	// manifest says.
	PeerURLs []string `json:"peerURLs"`
	// ListenClient is --listen-client-urls of its manifest.
	ListenClient string `json:"listenClient"`
	DataDir      string `json:"dataDir"`
	Bytes        int64  `json:"bytes"` // of the database
}

// Cluster is the API server and etcd of the node that is looked at.
type Cluster interface {
	// Kube reads through the API server at the address host:port.
	Kube(ctx context.Context, address string) (API, error)
	// Etcd looks at the member on the node.
	Etcd(ctx context.Context, address string) (etcd.Look, error)
}

// API is what is read of the cluster's objects; kube.Reader is one.
type API interface {
	Version() (string, error)
	Nodes(ctx context.Context) (map[string]corev1.Node, error)
	ClusterConfiguration(ctx context.Context) (kube.ClusterConfiguration, error)
}

// The files of a kubeadm control-plane node (kubeadm: constants).
const (
	apiManifest  = kube.ManifestsDir + "/kube-apiserver.yaml"
	etcdManifest = kube.ManifestsDir + "/etcd.yaml"
	adminConf    = "/etc/kubernetes/admin.conf"
	kubeletConf  = "/etc/kubernetes/kubelet.conf"
)

// Look reads the cluster of a control-plane node and changes nothing. Its
// errors are sentences: what the host is instead, and where to go.
func Look(ctx context.Context, host remote.Reader, c Cluster) (Found, error) {
	flags, err := apiFlags(ctx, host)
	if err != nil {
		return Found{}, err
	}
	if _, err := host.ReadFile(ctx, adminConf); errors.Is(err, fs.ErrNotExist) {
		return Found{}, fmt.Errorf("%s has no %s, the file that gives access to the cluster: make it again on %s with `kubeadm init phase kubeconfig admin`, then run this again", host.Name(), adminConf, host.Name())
	} else if err != nil {
		return Found{}, err
	}
	f := Found{Notes: []string{}, Workers: []Node{}, APIPort: "6443"}
	f.First.Address, _ = flags.Get("advertise-address")
	if port, ok := flags.Get("secure-port"); ok {
		f.APIPort = port
	}
	if net.ParseIP(f.First.Address) == nil {
		return Found{}, fmt.Errorf("the API server on %s has no --advertise-address in %s (%q), which kubeadm always sets: put it there, then run this again", host.Name(), apiManifest, f.First.Address)
	}
	api, err := c.Kube(ctx, net.JoinHostPort(f.First.Address, f.APIPort))
	if err != nil {
		return Found{}, err
	}
	if err := f.lookAtAPI(ctx, host, api); err != nil {
		return Found{}, err
	}
	if err := f.lookAtEtcd(ctx, host, c); err != nil {
		return Found{}, err
	}
	means, err := meaning(ctx, host, f.ControlPlaneEndpoint)
	if err != nil {
		return Found{}, err
	}
	f.notice(means)
	return f, nil
}

// apiFlags reads the API server's flags; a host without its manifest is none
// of ours.
func apiFlags(ctx context.Context, host remote.Reader) (kube.Flags, error) {
	file, err := host.ReadFile(ctx, apiManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notControlPlane(ctx, host)
	}
	if err != nil {
		return nil, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", apiManifest, host.Name(), err)
	}
	return m.Flags(), nil
}

// notControlPlane says what a host is instead.
func notControlPlane(ctx context.Context, host remote.Reader) error {
	file, err := host.ReadFile(ctx, kubeletConf)
	if err == nil {
		if server, err := kube.Server(file.Data); err == nil {
			where := server
			if u, err := url.Parse(server); err == nil {
				where = u.Hostname()
			}
			return fmt.Errorf("%s is no control-plane node: it has no %s, and its kubelet talks to %s; name the control-plane node: migrate init root@%s", host.Name(), apiManifest, server, where)
		}
	}
	for _, other := range []struct{ dir, name string }{
		{"/etc/rancher/k3s", "k3s"}, {"/etc/rancher/rke2", "RKE2"}, {"/etc/k0s", "k0s"}, {"/var/snap/microk8s", "MicroK8s"},
	} {
		if _, err := host.List(ctx, other.dir); err == nil {
			return fmt.Errorf("%s has %s (%s is there) and no kubeadm cluster, which is what this program migrates: it has no %s", host.Name(), other.name, other.dir, apiManifest)
		}
	}
	return fmt.Errorf("%s is no kubeadm control-plane node: it has neither %s nor %s; name the control-plane node of your cluster: migrate init root@HOST", host.Name(), apiManifest, kubeletConf)
}

func (f *Found) lookAtAPI(ctx context.Context, host remote.Reader, api API) error {
	cc, err := api.ClusterConfiguration(ctx)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the cluster of %s has no ConfigMap kube-system/kubeadm-config: it was not made by kubeadm, or somebody deleted it; kubeadm itself needs it to join nodes (`kubeadm init phase upload-config kubeadm` writes it)", host.Name())
	}
	if err != nil {
		return fmt.Errorf("asking the API server on %s (`kubectl --kubeconfig %s get nodes` there tells more): %w", host.Name(), adminConf, err)
	}
	if f.KubernetesVersion, err = api.Version(); err != nil {
		return err
	}
	nodes, err := api.Nodes(ctx)
	if err != nil {
		return err
	}
	f.Cluster, f.KubeadmAPI, f.ControlPlaneEndpoint = cc.ClusterName(), cc.APIVersion(), cc.ControlPlaneEndpoint()
	f.ServiceSubnet, f.PodSubnet = cc.ServiceSubnet(), cc.PodSubnet()
	if dir := cc.CertificatesDir(); dir != "/etc/kubernetes/pki" {
		f.Notes = append(f.Notes, fmt.Sprintf("kubeadm keeps its certificates in %s (certificatesDir of kubeadm-config), not in /etc/kubernetes/pki", dir))
	}
	if ext, ok := cc.ExternalEtcd(); ok {
		return fmt.Errorf("etcd of this cluster is external already (%s, by kubeadm-config): this program moves it there from the control-plane node, so it is for a cluster before that. If it was begun with this program, its spec and journal go on: migrate status", strings.Join(ext.Endpoints, ", "))
	}
	return f.sortNodes(host, nodes)
}

// sortNodes tells the control-plane node from the workers.
func (f *Found) sortNodes(host remote.Reader, nodes map[string]corev1.Node) error {
	var controlPlane []string
	for name, n := range nodes {
		if kube.IsControlPlane(n) {
			controlPlane = append(controlPlane, name)
			address := f.First.Address
			f.First = asNode(n)
			f.First.Address = address
			continue
		}
		f.Workers = append(f.Workers, asNode(n))
	}
	slices.Sort(controlPlane)
	slices.SortFunc(f.Workers, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	switch len(controlPlane) {
	case 1:
		return nil
	case 0:
		return fmt.Errorf("no Node of this cluster has the label node-role.kubernetes.io/control-plane, which kubeadm gives the control-plane node; if %s is it: kubectl label node NAME node-role.kubernetes.io/control-plane=", host.Name())
	}
	return fmt.Errorf("this cluster has %d control-plane nodes already (%s): this program is for a cluster with one. If it was begun with this program, its spec and journal go on: migrate status", len(controlPlane), strings.Join(controlPlane, ", "))
}

func asNode(n corev1.Node) Node {
	out := Node{Name: n.Name, Address: kube.InternalIP(n), Addresses: []string{}, Version: n.Status.NodeInfo.KubeletVersion, OS: n.Status.NodeInfo.OSImage}
	for _, a := range n.Status.Addresses {
		switch a.Type {
		case corev1.NodeInternalIP:
			out.Addresses = append(out.Addresses, a.Address)
		case corev1.NodeExternalIP:
			out.Known = append(out.Known, a.Address)
		}
	}
	for _, c := range n.Status.Conditions {
		out.Ready = out.Ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
	return out
}

func (f *Found) lookAtEtcd(ctx context.Context, host remote.Reader, c Cluster) error {
	file, err := host.ReadFile(ctx, etcdManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no %s: its etcd is no static pod of kubeadm's, and this program moves only such a one", host.Name(), etcdManifest)
	}
	if err != nil {
		return err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return fmt.Errorf("%s on %s: %w", etcdManifest, host.Name(), err)
	}
	f.Etcd.ListenClient, _ = m.Flags().Get("listen-client-urls")
	f.Etcd.DataDir, _ = m.Flags().Get("data-dir")
	look, err := c.Etcd(ctx, f.First.Address)
	if err != nil {
		return fmt.Errorf("asking etcd on %s (its log: crictl logs $(crictl ps -q --name etcd)): %w", host.Name(), err)
	}
	if n := len(look.Members); n != 1 {
		var names []string
		for _, member := range look.Members {
			names = append(names, fmt.Sprintf("%s at %s", or(member.Name, "one that never started"), strings.Join(member.PeerURLs, ",")))
		}
		return fmt.Errorf("etcd has %d members already (%s): this program begins with one. Remove those that are not meant to be there (etcdctl member remove), or, if it was begun with this program, go on with its spec and journal: migrate status", n, strings.Join(names, "; "))
	}
	f.Etcd.Name, f.Etcd.PeerURLs = look.Members[0].Name, look.Members[0].PeerURLs
	for _, a := range look.Answers {
		if a.Err != nil {
			return fmt.Errorf("asking etcd on %s: %w", host.Name(), a.Err)
		}
		f.Etcd.Version, f.Etcd.Bytes = a.Status.Version, a.Status.DBSize
	}
	return nil
}

// meaning lists the addresses that the host of an endpoint has on the
// control-plane node; none where it is not known there.
func meaning(ctx context.Context, host remote.Reader, endpoint string) ([]string, error) {
	name := endpoint
	if h, _, err := net.SplitHostPort(endpoint); err == nil {
		name = h
	}
	if name == "" || net.ParseIP(name) != nil {
		return []string{name}, nil
	}
	out, err := host.Look(ctx, remote.Command{Script: "getent ahostsv4 " + remote.Quote(name)})
	if errors.As(err, new(*remote.ExitError)) {
		return nil, nil // a name that means nothing is preflight's to tell
	}
	if err != nil {
		return nil, err
	}
	var all []string
	for _, line := range strings.Split(out, "\n") {
		if words := strings.Fields(line); len(words) > 0 && !slices.Contains(all, words[0]) {
			all = append(all, words[0])
		}
	}
	return all, nil
}

// noticeEndpoint says what to do with an endpoint that is there already. The
// documentation of kubeadm has people point a name to the first node, to be
// pointed elsewhere later (kubernetes/kubeadm#2888).
func (f *Found) noticeEndpoint(means []string) string {
	ours := slices.ContainsFunc(means, func(a string) bool { return f.First.has(a) || strings.HasPrefix(a, "127.") })
	host, _, err := net.SplitHostPort(f.ControlPlaneEndpoint)
	if err != nil {
		host = f.ControlPlaneEndpoint
	}
	switch {
	case ours && net.ParseIP(host) != nil:
		return fmt.Sprintf("kubeadm-config has the control-plane endpoint %s already, which is %s itself and ends with it: spec.endpoint is to be another one", f.ControlPlaneEndpoint, f.First.Name)
	case ours:
		return fmt.Sprintf("kubeadm-config has the control-plane endpoint %s already, and on %s that name means %s, which is %s itself. As spec.endpoint it changes nothing of the clients, but first it must mean the load balancer on every node (in DNS, or in /etc/hosts)",
			f.ControlPlaneEndpoint, f.First.Name, strings.Join(means, ", "), f.First.Name)
	}
	return fmt.Sprintf("kubeadm-config has the control-plane endpoint %s already; if that name can be pointed to the load balancer, write it as spec.endpoint, and nothing of the clients changes", f.ControlPlaneEndpoint)
}

// notice says what is unusual and matters for filling in.
func (f *Found) notice(endpointMeans []string) {
	note := func(format string, args ...any) { f.Notes = append(f.Notes, fmt.Sprintf(format, args...)) }
	if f.ControlPlaneEndpoint != "" {
		note("%s", f.noticeEndpoint(endpointMeans))
	}
	if !slices.Contains(f.First.Addresses, f.First.Address) {
		note("the API server advertises %s, and the Node %s has the InternalIP %s: other nodes must reach both", f.First.Address, f.First.Name, strings.Join(f.First.Addresses, ", "))
	}
	if strings.Contains(f.First.Address, ":") {
		note("the API server advertises the IPv6 address %s, which plan and run refuse", f.First.Address)
	}
	for _, n := range f.Workers {
		switch {
		case n.Address == "":
			note("the Node %s has no InternalIP: list it under spec.workers with its address", n.Name)
		case !n.Ready:
			note("the Node %s is not Ready: fix that first, or it cannot be told whether the migration hurt it", n.Name)
		}
		if len(n.Addresses) > 1 {
			note("the Node %s has several internal addresses (%s); %s is used", n.Name, strings.Join(n.Addresses, ", "), n.Address)
		}
	}
	if !f.First.Ready {
		note("the Node %s is not Ready: fix that first", f.First.Name)
	}
}

func or(v, fallback string) string {
	if v == "" {
		return fallback
	}
	return v
}
