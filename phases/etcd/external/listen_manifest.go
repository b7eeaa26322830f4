package external

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

func listenManifest(ctx context.Context, v phases.Reader) (kube.Manifest, remote.File, error) {
	f, err := v.On(v.Target()).ReadFile(ctx, phases.EtcdManifest)
	if err != nil {
		return kube.Manifest{}, remote.File{}, err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return kube.Manifest{}, remote.File{}, fmt.Errorf("on %s, %s: %w", v.Target(), f.Path, err)
	}
	return m, f, nil
}

// localOnly says that a manifest has no listener for members on other hosts.
func localOnly(m kube.Manifest) bool {
	urls, _ := m.Flags().Get(listenPeers)
	for raw := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err == nil && u.Host != "" && !etcdflags.IsLoopback(u.Hostname()) {
			return false
		}
	}
	return true
}

// listenFlags are the flags to set, as kubeadm writes them, but with the
// listener on localhost kept: whatever uses it goes on. --initial-cluster
// stays: a member that has data reads none of the initial flags, and one
// whose data is lost then refuses to found a cluster again, since the two do
// not agree (etcd: server/config, VerifyBootstrap).
func listenFlags(m kube.Manifest, h cluster.Host) kube.Flags {
	have, _ := m.Flags().Get(listenPeers)
	flags := kube.Flags{{Name: listenPeers, Value: have + "," + membership.PeerURL(h)}}
	if _, ok := m.Flags().Get(advertisePeer); ok {
		flags = append(flags, kube.Flag{Name: advertisePeer, Value: membership.PeerURL(h)})
	}
	return flags
}

// withListener returns the manifest with those flags and every other byte
// kept.
func withListener(m kube.Manifest, h cluster.Host) ([]byte, error) {
	var data []byte
	for _, set := range listenFlags(m, h) {
		var err error
		if data, err = m.SetFlag(set.Name, set.Value); err != nil {
			return nil, err
		}
		if m, err = kube.ParseManifest(data); err != nil {
			return nil, err
		}
	}
	return data, nil
}
