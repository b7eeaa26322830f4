package kube

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ClusterConfiguration is kubeadm's, as it stands in the ConfigMap
// kube-system/kubeadm-config. It is edited as a tree and never converted:
// v1beta3 has extraArgs as a map, v1beta4 as a list, and either must come out
// as it went in.
type ClusterConfiguration struct{ top *yaml.Node }

// ParseClusterConfiguration reads the ConfigMap's ClusterConfiguration.
func ParseClusterConfiguration(text string) (ClusterConfiguration, error) {
	top, err := parseDocument([]byte(text))
	if err == nil {
		top, err = plain(top, new(int))
	}
	if err != nil {
		return ClusterConfiguration{}, fmt.Errorf("reading kubeadm-config: %w", err)
	}
	if kind := value(child(top, "kind")); kind != "ClusterConfiguration" {
		return ClusterConfiguration{}, fmt.Errorf("reading kubeadm-config: kind is %q", kind)
	}
	return ClusterConfiguration{top}, nil
}

// String renders it as kubeadm does: two spaces, lists not indented.
func (c ClusterConfiguration) String() string {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(c.top); err != nil {
		panic("encoding a tree that was parsed: " + err.Error())
	}
	return b.String()
}

// hidden stands where a value is not shown.
const hidden = "(not shown)"

// Shown is String for people, files and logs: without the values of extraEnvs,
// among which a proxy's password may be, and of flags that are secrets. It is
// no digest, which would let a short password be guessed.
func (c ClusterConfiguration) Shown() string {
	out := c.Clone()
	hideEnvs(out.top)
	for _, component := range Components() {
		hideArgs(child(child(out.top, component.Section()), ExtraArgs))
	}
	hideArgs(child(child(child(out.top, "etcd"), "local"), ExtraArgs))
	return out.String()
}

// hideArgs hides the values of flags that are secrets.
func hideArgs(args *yaml.Node) {
	if args == nil {
		return
	}
	if args.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(args.Content); i += 2 {
			if Secret(args.Content[i].Value, args.Content[i+1].Value) {
				args.Content[i+1] = scalar(hidden)
			}
		}
		return
	}
	for _, arg := range args.Content {
		if Secret(value(child(arg, "name")), value(child(arg, "value"))) {
			setChild(arg, "value", scalar(hidden))
		}
	}
}

// hideEnvs hides what is not a name in every extraEnvs below a node.
func hideEnvs(n *yaml.Node) {
	for i, inner := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 0 || n.Content[i-1].Value != "extraEnvs" {
			hideEnvs(inner)
			continue
		}
		if inner.Kind != yaml.SequenceNode {
			n.Content[i] = scalar(hidden)
			continue
		}
		for k, env := range inner.Content {
			if env.Kind != yaml.MappingNode {
				inner.Content[k] = scalar(hidden)
			} else if child(env, "value") != nil {
				setChild(env, "value", scalar(hidden))
			}
		}
	}
}

// APIVersion is kubeadm.k8s.io/v1beta3 or v1beta4.
func (c ClusterConfiguration) APIVersion() string { return value(child(c.top, "apiVersion")) }

// KubernetesVersion is "v1.36.3".
func (c ClusterConfiguration) KubernetesVersion() string {
	return value(child(c.top, "kubernetesVersion"))
}

// ControlPlaneEndpoint is "host:port" or "".
func (c ClusterConfiguration) ControlPlaneEndpoint() string {
	return value(child(c.top, "controlPlaneEndpoint"))
}

// SetControlPlaneEndpoint sets it.
func (c ClusterConfiguration) SetControlPlaneEndpoint(endpoint string) {
	setChild(c.top, "controlPlaneEndpoint", scalar(endpoint))
}

// CertificatesDir is kubeadm's, with its default.
func (c ClusterConfiguration) CertificatesDir() string {
	if dir := value(child(c.top, "certificatesDir")); dir != "" {
		return dir
	}
	return DefaultCertificatesDir
}

// DefaultCertificatesDir is kubeadm's (apis/kubeadm/v1beta4: DefaultCertificatesDir).
const DefaultCertificatesDir = "/etc/kubernetes/pki"

// SetCertificatesDir sets it: for a scratch copy that is handed to kubeadm,
// not for the ConfigMap.
func (c ClusterConfiguration) SetCertificatesDir(dir string) {
	setChild(c.top, "certificatesDir", scalar(dir))
}

// CertSANs lists apiServer.certSANs.
func (c ClusterConfiguration) CertSANs() []string {
	return listOf(child(child(c.top, "apiServer"), "certSANs"))
}

// AddCertSANs appends those names that are not there yet, and says whether
// there were any.
func (c ClusterConfiguration) AddCertSANs(names ...string) bool {
	have := c.CertSANs()
	n := len(have)
	for _, name := range names {
		if name != "" && !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	if len(have) == n {
		return false
	}
	api := child(c.top, "apiServer")
	if api == nil || api.Kind != yaml.MappingNode {
		api = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setChild(c.top, "apiServer", api)
	}
	api.Style = 0 // `apiServer: {}` becomes a block
	setChild(api, "certSANs", stringList(have))
	return true
}

// ExternalEtcd is etcd.external.
type ExternalEtcd struct {
	Endpoints                 []string
	CAFile, CertFile, KeyFile string
}

// ExternalEtcd returns etcd.external, and whether it is there.
func (c ClusterConfiguration) ExternalEtcd() (ExternalEtcd, bool) {
	ext := child(child(c.top, "etcd"), "external")
	if ext == nil {
		return ExternalEtcd{}, false
	}
	return ExternalEtcd{
		Endpoints: listOf(child(ext, "endpoints")),
		CAFile:    value(child(ext, "caFile")),
		CertFile:  value(child(ext, "certFile")),
		KeyFile:   value(child(ext, "keyFile")),
	}, true
}

// SetExternalEtcd replaces the whole etcd block: local and external exclude
// each other (kubeadm: validation.ValidateEtcd).
func (c ClusterConfiguration) SetExternalEtcd(e ExternalEtcd) {
	ext := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	setChild(ext, "caFile", scalar(e.CAFile))
	setChild(ext, "certFile", scalar(e.CertFile))
	setChild(ext, "endpoints", stringList(e.Endpoints))
	setChild(ext, "keyFile", scalar(e.KeyFile))
	block := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	setChild(block, "external", ext)
	setChild(c.top, "etcd", block)
}

// SetLocalEtcdSANs makes the etcd block a local one with these names in its
// server and in its peer certificate: for a scratch copy that kubeadm signs
// with.
func (c ClusterConfiguration) SetLocalEtcdSANs(server, peer []string) {
	local := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	setChild(local, "serverCertSANs", stringList(server))
	setChild(local, "peerCertSANs", stringList(peer))
	block := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	setChild(block, "local", local)
	setChild(c.top, "etcd", block)
}

// SetEtcdOf replaces the whole etcd block by that of another configuration, of
// before an upgrade maybe: extraArgs take the shape of c's version.
func (c ClusterConfiguration) SetEtcdOf(o ClusterConfiguration) {
	block := child(o.top, "etcd")
	if block == nil {
		removeChild(c.top, "etcd")
		return
	}
	block = clone(block)
	if c.APIVersion() != o.APIVersion() {
		reshapeArgs(child(child(block, "local"), "extraArgs"), strings.HasSuffix(c.APIVersion(), "/v1beta3"))
	}
	setChild(c.top, "etcd", block)
}

func clone(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	for _, inner := range n.Content {
		out.Content = append(out.Content, clone(inner))
	}
	return &out
}

// reshapeArgs makes a map of a list of names and values, or a list of a map.
func reshapeArgs(args *yaml.Node, asMap bool) {
	if args == nil || args.Kind == yaml.MappingNode == asMap {
		return
	}
	var out []*yaml.Node
	if asMap {
		for _, arg := range args.Content {
			out = append(out, scalar(value(child(arg, "name"))), scalar(value(child(arg, "value"))))
		}
		args.Kind, args.Tag, args.Content = yaml.MappingNode, "!!map", out
		return
	}
	for i := 0; i+1 < len(args.Content); i += 2 {
		arg := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setChild(arg, "name", args.Content[i])
		setChild(arg, "value", args.Content[i+1])
		out = append(out, arg)
	}
	args.Kind, args.Tag, args.Style, args.Content = yaml.SequenceNode, "!!seq", 0, out
}

// DropAdvertiseAddress removes apiServer.extraArgs.advertise-address, which
// kubeadm would copy to every joining node (kubernetes/kubeadm#3175), and
// says whether it was there. Both shapes of extraArgs are handled.
func (c ClusterConfiguration) DropAdvertiseAddress() bool {
	args := child(child(c.top, "apiServer"), "extraArgs")
	if args == nil {
		return false
	}
	const name = "advertise-address"
	if args.Kind == yaml.MappingNode {
		had := child(args, name) != nil
		removeChild(args, name)
		return had
	}
	n := len(args.Content)
	args.Content = slices.DeleteFunc(args.Content, func(arg *yaml.Node) bool {
		return value(child(arg, "name")) == name
	})
	return len(args.Content) < n
}

// ClusterName is kubeadm's name of the cluster, "kubernetes" by default.
func (c ClusterConfiguration) ClusterName() string {
	if name := value(child(c.top, "clusterName")); name != "" {
		return name
	}
	return "kubernetes"
}

// ServiceSubnet is networking.serviceSubnet, "" where it is not said.
func (c ClusterConfiguration) ServiceSubnet() string {
	return value(child(child(c.top, "networking"), "serviceSubnet"))
}

// PodSubnet is networking.podSubnet, "" where it is not said.
func (c ClusterConfiguration) PodSubnet() string {
	return value(child(child(c.top, "networking"), "podSubnet"))
}
