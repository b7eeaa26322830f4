package kube

import (
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Own is what is one node's own: its name and its address. Two nodes of one
// control plane may differ in these and in nothing else.
type Own struct{ Name, Address string }

// ownMark stands for a node's own address or name while two nodes' pods are
// compared. No manifest has it: it is no character of YAML.
const ownMark = "\x00own\x00"

// sharedValues are flags whose value is the same for all API servers by its
// nature, also where it holds an address: the name that tokens carry, and
// where others are.
var sharedValues = []string{"service-account-issuer", "service-account-jwks-uri", "api-audiences", "oidc-issuer-url", "etcd-servers"}

// nodeNameFlags are flags that hold the name of the machine.
var nodeNameFlags = []string{"hostname-override", "node-name", "external-hostname"}

// separates says that an address or a name in a value may begin or end there.
// Colons are left in: IPv6 addresses have them.
func separates(r rune) bool { return strings.ContainsRune(",=/;@\"'?& ", r) }

func words(value string) []string { return strings.FieldsFunc(value, separates) }

// has says whether a word is the node's address, also with a port or as an
// IPv4 address in the form of IPv6.
func (o Own) has(word string) bool {
	own := net.ParseIP(o.Address)
	if host, _, err := net.SplitHostPort(word); err == nil {
		word = host
	}
	ip := net.ParseIP(strings.Trim(word, "[]"))
	return own != nil && ip != nil && ip.Equal(own)
}

// In says whether a value holds what is the node's own: its address anywhere,
// or its name as the whole value or as one folder of a path. A name is a weak
// sign, since a node may be called like anything.
func (o Own) In(value string) bool {
	return o.AddressIn(value) || o.named() && (value == o.Name ||
		strings.HasPrefix(value, "/") && slices.Contains(strings.Split(path.Clean(value), "/"), o.Name))
}

// commonNames are folders that any machine or control plane has, and words that
// its flags take: a node that is called so is not meant by them.
var commonNames = []string{
	"etc", "var", "lib", "lib64", "log", "logs", "usr", "share", "local", "opt", "srv", "mnt", "data", "run", "tmp", "home", "root", "bin", "sbin", "dev", "proc", "sys", "cache", "spool", "storage", "volumes", "backup", "secrets",
	"kubernetes", "kube", "k8s", "kube-system", "kubelet", "kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "apiserver", "api", "scheduler", "controller-manager", "control-plane", "cluster", "cloud", "manifests", "patches",
	"pki", "ssl", "tls", "certs", "ca-certificates", "etcd", "audit", "auth", "oidc", "webhook", "webhooks", "admission", "encryption", "enc", "kms", "config", "conf", "policies", "policy", "localhost",
}

// named says whether the name tells anything where it stands in a value.
func (o Own) named() bool { return o.Name != "" && !slices.Contains(commonNames, o.Name) }

// AddressIn says whether a value holds the node's address.
func (o Own) AddressIn(value string) bool { return slices.ContainsFunc(words(value), o.has) }

// FlagHolds says whether a flag's value is a node's own, and so none for
// others.
func (o Own) FlagHolds(f Flag) bool {
	if slices.Contains(sharedValues, f.Name) {
		return false
	}
	return o.AddressIn(f.Value) || f.Value == o.Name && slices.Contains(nodeNameFlags, f.Name)
}

// proxyException says that a variable lists whom no proxy is asked for: the
// nodes, the first one among them, for all. No address in it is one node's own.
func proxyException(name string) bool { return strings.EqualFold(name, "no_proxy") }

// VariableHolds says whether a variable's value is a node's own, and so none for
// others.
func (o Own) VariableHolds(name, value string) bool {
	return !proxyException(name) && (o.AddressIn(value) || o.named() && value == o.Name)
}

// mark puts ownMark, or what another node has there, in the place of the node's
// own address and name.
func (o Own) mark(value, address, name string) string {
	var b strings.Builder
	for rest := value; rest != ""; {
		end := strings.IndexFunc(rest, separates)
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		if o.has(word) {
			if _, port, err := net.SplitHostPort(word); err == nil {
				word = net.JoinHostPort(address, port)
			} else {
				word = address
			}
		}
		b.WriteString(word)
		if rest = rest[end:]; rest != "" {
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	value = b.String()
	switch {
	case !o.named():
	case value == o.Name:
		return name
	case strings.HasPrefix(value, "/"):
		parts := strings.Split(value, "/")
		for i, p := range parts {
			if p == o.Name {
				parts[i] = name
			}
		}
		return strings.Join(parts, "/")
	}
	return value
}

// markFlag is mark for a flag's value: of some it is known that they hold the
// name, whatever it is.
func (o Own) markFlag(f Flag, address, name string) string {
	switch {
	case slices.Contains(sharedValues, f.Name):
		return f.Value
	case f.Value == o.Name && slices.Contains(nodeNameFlags, f.Name):
		return name
	}
	return o.mark(f.Value, address, name)
}

// same says whether two values mean the same on their nodes.
func same(a, b string, ownA, ownB Own) bool {
	return a == b || ownA.mark(a, ownMark, ownMark) == ownB.mark(b, ownMark, ownMark)
}

// kubeadmFinds are folders that kubeadm mounts where a host has them
// (kubeadm: phases/controlplane/volumes.go, caCertsExtraVolumePaths): they say
// which distribution a node has, and nothing of the cluster.
var kubeadmFinds = []string{"/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki", "/etc/ca-certificates",
	"/usr/share/ca-certificates", "/usr/local/share/ca-certificates"}

// withoutFound leaves these mounts out of a pod.
func withoutFound(pod *corev1.Pod) {
	found := map[string]bool{}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		is := v.HostPath != nil && slices.Contains(kubeadmFinds, path.Clean(v.HostPath.Path)) && v.Name == strings.ReplaceAll(path.Clean(v.HostPath.Path), "/", "-")[1:]
		found[v.Name] = is
		return is
	})
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return found[m.Name] })
	}
}
