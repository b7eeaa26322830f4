// Package etcdconfig finds settings of the old etcd member that would stop phase 2 or
// bend what comes out of it.
package etcdconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// Trouble is a setting of the old member that would stop phase 2 or bend
// what comes out of it.
type Trouble struct {
	Seen, Remedy string
	Stops        bool // or else it is to be known
}

// etcdSource is a place from which the old member gets its flags.
type etcdSource struct {
	name  string
	flags kube.Flags
}

const (
	fromManifest = phases.EtcdManifest
	fromProcess  = "the running process"
	fromConfig   = "kubeadm-config (etcd.local)"
)

// etcdSources are the manifest, which the kubelet may start again at any
// moment, and the process, which may be of another one. There is none where the
// old member is gone.
func etcdSources(ctx context.Context, v phases.Reader) ([]etcdSource, kube.Manifest, error) {
	file, err := v.On(v.First().Name).ReadFile(ctx, phases.EtcdManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, kube.Manifest{}, nil
	}
	if err != nil {
		return nil, kube.Manifest{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return nil, kube.Manifest{}, fmt.Errorf("on %s, %s: %w", v.First().Name, file.Path, err)
	}
	out := []etcdSource{{fromManifest, etcdflags.ManifestEtcdFlags(m)}}
	old, running, err := v.OldEtcdAsIs(ctx)
	if err != nil {
		return nil, kube.Manifest{}, err
	}
	if running {
		out = append(out, etcdSource{fromProcess, old.Flags})
	}
	return out, m, nil
}

// etcdOfKubeadm is what kubeadm would make the next manifest of.
func etcdOfKubeadm(ctx context.Context, v phases.Reader) (etcdSource, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return etcdSource{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	return etcdSource{fromConfig, etcdflags.WithVariables(cc.LocalEtcdArgs(), cc.LocalEtcdVariables())}, err
}

// isOn reads a switch as etcd does (Go's flag package).
func isOn(flags kube.Flags, name string) bool {
	text, _ := flags.Get(name)
	on, err := strconv.ParseBool(text)
	return err == nil && on
}

// withoutFlag is how a flag is taken out of a place.
func withoutFlag(place, name, node string) string {
	variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	switch place {
	case fromConfig:
		return fmt.Sprintf("take %s (or %s) out of etcd.local: kubectl -n kube-system edit configmap kubeadm-config", name, variable)
	case fromProcess:
		return fmt.Sprintf("on %[1]s, let the kubelet start etcd by its manifest (the API is away for about a minute): mv %[2]s /etc/kubernetes/etcd.back; until ! pgrep -x etcd; do sleep 1; done; mv /etc/kubernetes/etcd.back %[2]s", node, phases.EtcdManifest)
	}
	return fmt.Sprintf("on %[1]s, as a change of its own (etcd restarts, the API is away for about a minute; as a variable, take %[4]s out of env: instead): cp -p %[2]s /etc/kubernetes/etcd.new && sed -i '/--%[3]s/d' /etc/kubernetes/etcd.new && mv /etc/kubernetes/etcd.new %[2]s", node, phases.EtcdManifest, name, variable)
}

// ForcesNewCluster is a --force-new-cluster left over from a rescue, in the
// manifest or in the process. With one member nobody notices it: each start
// makes a new cluster of that one. Of a cluster with more members such a start
// is a split, two clusters with one history (etcd: server/etcdserver,
// bootstrap.go, ForceNewCluster). It asks the node alone.
func ForcesNewCluster(ctx context.Context, v phases.Reader) (*Trouble, error) {
	sources, _, err := etcdSources(ctx, v)
	if err != nil {
		return nil, err
	}
	return forces(v, sources), nil
}

func forces(v phases.Reader, sources []etcdSource) *Trouble {
	for _, s := range sources {
		if isOn(s.flags, "force-new-cluster") {
			return &Trouble{Stops: true, Remedy: withoutFlag(s.name, "force-new-cluster", v.First().Name),
				Seen: fmt.Sprintf("--force-new-cluster is set in %s of %s: etcd's next start there, which may come at any moment, would throw out all other members and go on as a cluster of its own", s.name, v.First().Name)}
		}
	}
	return nil
}

// Troubles are all of them, what stops first. It is empty where the old
// member is gone.
func Troubles(ctx context.Context, v phases.Reader) (out []Trouble, gone bool, err error) {
	sources, m, err := etcdSources(ctx, v)
	if err != nil || len(sources) == 0 {
		return nil, len(sources) == 0, err
	}
	config, err := etcdOfKubeadm(ctx, v)
	if err != nil {
		return nil, false, err
	}
	if forced := forces(v, append(slices.Clone(sources), config)); forced != nil {
		out = append(out, *forced)
	}
	for _, s := range sources {
		out = append(out, unsafeSettings(v, s)...)
	}
	effective := sources[len(sources)-1].flags // of the process, where one runs
	out = append(out, foreignPeers(v, effective)...)
	out = append(out, inheritedBadly(v, effective)...)
	out = append(out, odd(v, sources, m)...)
	slices.SortStableFunc(out, func(a, b Trouble) int {
		return strings.Compare(fmt.Sprint(!a.Stops), fmt.Sprint(!b.Stops))
	})
	return out, false, nil
}

// unsafeSettings must not be those of a member of three.
func unsafeSettings(v phases.Reader, s etcdSource) []Trouble {
	var out []Trouble
	if file, ok := s.flags.Get("config-file"); ok {
		out = append(out, Trouble{Stops: true, Remedy: "write what is in it as flags into " + phases.EtcdManifest + ", as a change of its own",
			Seen: fmt.Sprintf("by %s of %s etcd reads --config-file=%s, and no flag or variable besides: what new members are to be like is not known", s.name, v.First().Name, file)})
	}
	if isOn(s.flags, "unsafe-no-fsync") {
		out = append(out, Trouble{Stops: true, Remedy: withoutFlag(s.name, "unsafe-no-fsync", v.First().Name),
			Seen: fmt.Sprintf("--unsafe-no-fsync is set in %s of %s: a member that acknowledges what is not on its disk can lose it, and then the members do not hold the same", s.name, v.First().Name)})
	}
	if text, ok := s.flags.Get("strict-reconfig-check"); ok && !isOn(s.flags, "strict-reconfig-check") {
		out = append(out, Trouble{Remedy: withoutFlag(s.name, "strict-reconfig-check", v.First().Name),
			Seen: fmt.Sprintf("--strict-reconfig-check=%s is set in %s of %s: that member takes a change of members that costs the quorum; new members are given etcd's default, which refuses it", text, s.name, v.First().Name)})
	}
	return out
}

// foreignPeers looks whether members on other hosts can be its peers: by TLS,
// with certificates of its CA, at the port that they are told.
func foreignPeers(v phases.Reader, flags kube.Flags) []Trouble {
	var out []Trouble
	stop := func(remedy, format string, args ...any) {
		out = append(out, Trouble{Stops: true, Remedy: remedy, Seen: fmt.Sprintf(format, args...)})
	}
	first := v.First()
	const asKubeadm = "give the old member kubeadm's flags for its peers, as a change of its own: --peer-cert-file, --peer-key-file, --peer-trusted-ca-file, --peer-client-cert-auth=true, --listen-peer-urls=https://…:2380"
	peers, _ := flags.Get("listen-peer-urls")
	if strings.Contains(peers, "http://") {
		stop(asKubeadm, "the old member talks to members without TLS (--listen-peer-urls=%s): the new ones do not", peers)
	} else if ca, _ := flags.Get("peer-trusted-ca-file"); ca == "" {
		stop(asKubeadm, "the old member has no --peer-trusted-ca-file: it and the new members would not trust each other")
	}
	if address, local := etcdflags.ListenAddress(flags, "listen-peer-urls"); address != "" && !local && !takesPeers(v, peers) {
		stop(fmt.Sprintf("add https://%s to --listen-peer-urls in %s, as a change of its own, or write the address where it listens into the spec", net.JoinHostPort(first.Address, strconv.Itoa(etcdflags.EtcdPeerPort)), phases.EtcdManifest),
			"the old member takes members at %s only, and the new ones are told %s", peers, net.JoinHostPort(first.Address, strconv.Itoa(etcdflags.EtcdPeerPort)))
	}
	for _, flag := range []string{"peer-cert-allowed-cn", "peer-cert-allowed-hostname"} {
		text, ok := flags.Get(flag)
		if !ok {
			continue
		}
		allowed := strings.Split(text, ",")
		for _, h := range v.Spec().EtcdMembers() {
			fits := slices.Contains(allowed, h.Name)
			if flag == "peer-cert-allowed-hostname" {
				fits = fits || slices.ContainsFunc([]string{h.Address, "localhost", "127.0.0.1"}, func(n string) bool { return slices.Contains(allowed, n) })
			}
			if !fits {
				stop(withoutFlag(fromManifest, flag, first.Name), "--%s=%s of the old member refuses the certificate of %s, which is for %s and %s", flag, text, h.Name, h.Name, h.Address)
				break
			}
		}
	}
	return out
}

// takesPeers says whether a list of peer listeners has the address and port by
// which the new members look for the old one.
func takesPeers(v phases.Reader, list string) bool {
	for raw := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.Port() != strconv.Itoa(etcdflags.EtcdPeerPort) {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		if u.Hostname() == v.First().Address || kube.EveryAddress(u.Hostname()) || ip != nil && ip.Equal(net.ParseIP(v.First().Address)) {
			return true
		}
	}
	return false
}

// inheritedBadly finds what a new member would be given and could not use.
func inheritedBadly(v phases.Reader, flags kube.Flags) []Trouble {
	var out []Trouble
	first := v.First()
	for _, f := range etcdflags.Inherited(flags, first) {
		switch {
		case strings.HasPrefix(f.Value, "/") || strings.Contains(f.Value, "=/"):
			out = append(out, Trouble{Stops: true, Remedy: withoutFlag(fromManifest, f.Name, first.Name),
				Seen: fmt.Sprintf("the old member uses a file of its node, which no etcd host has: --%s=%s", f.Name, f.Value)})
		case kube.NamesHost(f.Value, first.Address) || kube.NamesHost(f.Value, first.Name) && !strings.HasPrefix(f.Name, "peer-cert-allowed"):
			out = append(out, Trouble{Remedy: "look whether it is right on an etcd host, too: nothing is to be done where it is",
				Seen: fmt.Sprintf("new members inherit --%s=%s, which names %s itself", f.Name, f.Value, first.Name)})
		}
	}
	return out
}

// odd is what the way back or the reader would stumble over.
func odd(v phases.Reader, sources []etcdSource, m kube.Manifest) []Trouble {
	var out []Trouble
	first := v.First().Name
	if words := m.Command(); m.Containers() != 1 || len(words) == 0 || path.Base(words[0]) != "etcd" {
		out = append(out, Trouble{Remedy: "give it one container with a command that begins with etcd, as kubeadm does, before phase 2",
			Seen: fmt.Sprintf("%s of %s has %d containers, and the first one's command begins with %.40q: the rollback of phase 2 copies only a manifest with one container that runs etcd itself", phases.EtcdManifest, first, m.Containers(), strings.Join(words[:min(1, len(words))], ""))})
	}
	if len(sources) < 2 {
		return out
	}
	if name := differs(sources[0].flags, sources[1].flags); name != "" {
		out = append(out, Trouble{Remedy: withoutFlag(fromProcess, "", first),
			Seen: fmt.Sprintf("etcd on %s does not run as its manifest says (--%s differs): new members are made like the process, and a restart would change the old one", first, name)})
	}
	return out
}

// differs names a flag of a manifest that a process has otherwise, "" for
// none. What a manifest takes from variables of the pod can't be compared, and
// what a process has besides may be of its image.
func differs(manifest, process kube.Flags) string {
	for _, f := range manifest {
		want, _ := manifest.Get(f.Name)
		if has, ok := process.Get(f.Name); (has != want || !ok) && !strings.Contains(want, "$(") {
			return f.Name
		}
	}
	return ""
}
