package etcdflags

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
)

// The ports of etcd members on the etcd hosts: etcd's registered ports.
const (
	EtcdClientPort = 2379
	EtcdPeerPort   = 2380
)

// WithVariables adds what etcd is told by variables, NAME=value: it takes
// ETCD_QUOTA_BACKEND_BYTES for --quota-backend-bytes where there is no flag,
// and leaves out what is empty or no flag's name (etcd: pkg/flags,
// SetFlagsFromEnv).
func WithVariables(flags kube.Flags, variables []string) kube.Flags {
	flags = slices.Clone(flags)
	for _, line := range variables {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		name, ok := strings.CutPrefix(name, "ETCD_")
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if _, set := flags.Get(name); ok && value != "" && !set && isEtcdFlag(name) {
			flags = append(flags, kube.Flag{Name: name, Value: value})
		}
	}
	return flags
}

func SameFlag(a, b kube.Flags, name string) bool {
	x, _ := a.Get(name)
	y, _ := b.Get(name)
	return x == y
}

// ListenAddress picks host:port of a listen flag, the loopback one first: it
// is what the node itself uses. localOnly says that there is no other.
func ListenAddress(flags kube.Flags, name string) (address string, localOnly bool) {
	list, _ := flags.Get(name)
	localOnly = true
	for raw := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.Host == "" {
			continue
		}
		if !IsLoopback(u.Hostname()) {
			localOnly = false
			if address == "" {
				address = u.Host
			}
			continue
		}
		address = u.Host
	}
	if host, port, err := net.SplitHostPort(address); err == nil && kube.EveryAddress(host) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return address, localOnly
}

// IsLoopback says whether a host part means the machine itself.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// manifestEtcdFlags reads also a command that is one line for a shell.
func ManifestEtcdFlags(m kube.Manifest) kube.Flags {
	flags := m.Flags()
	for _, word := range m.Command() {
		if !strings.HasPrefix(word, "-") && strings.Contains(word, " -") {
			flags = append(flags, kube.ParseFlags(strings.Fields(word))...)
		}
	}
	var variables []string
	for name, value := range m.Env() {
		variables = append(variables, name+"="+value)
	}
	slices.Sort(variables)
	return WithVariables(flags, variables)
}
