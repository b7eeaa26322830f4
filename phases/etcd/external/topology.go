package external

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// Topology is etcd on hosts of its own. Its methods are those that
// phases/etcd.Topology describes.
type Topology struct{}

// Servers are the same for all API servers: the members alone, no load balancer
// (kubernetes/kubernetes#67341) and never a learner.
func (Topology) Servers(spec cluster.Spec, _ string) []string {
	var urls []string
	for _, h := range spec.EtcdMembers() {
		urls = append(urls, membership.ClientURL(h))
	}
	return urls
}

// Config wants etcd.external, with all members.
func (t Topology) Config(spec cluster.Spec, c kube.ClusterConfiguration) (says string, ok bool) {
	want := t.Servers(spec, "")
	ext, external := c.ExternalEtcd()
	switch {
	case !external:
		return "it has no etcd.external: the next upgrade would start an etcd of kubeadm's", false
	case !slices.Equal(slices.Sorted(slices.Values(ext.Endpoints)), slices.Sorted(slices.Values(want))):
		return fmt.Sprintf("etcd.external.endpoints are %s, not %s", strings.Join(ext.Endpoints, ", "), strings.Join(want, ", ")), false
	}
	return "etcd.external names the members", true
}

// MayJoin wants etcd.external: with etcd.local kubeadm would add a member.
func (Topology) MayJoin(c kube.ClusterConfiguration) bool {
	_, external := c.ExternalEtcd()
	return external
}

// Joined wants no member on the node.
func (Topology) Joined(ctx context.Context, v phases.Reader) error {
	names, err := v.On(v.Target()).List(ctx, kube.ManifestsDir)
	if err == nil && slices.Contains(names, "etcd.yaml") {
		err = fmt.Errorf("%s got an etcd member of its own", v.Target())
	}
	return err
}

// MayLeave refuses hosts with a member, or anybody's etcd: a reset has wiped
// data folders of external members before (kubernetes/kubeadm#3225).
func (Topology) MayLeave(ctx context.Context, v phases.Reader) error {
	for _, e := range v.Spec().EtcdMembers() {
		if e.Name == v.Target() || e.Address == v.Self().Address {
			return fmt.Errorf("%s is the etcd host %s: it is never reset", v.Target(), e.Name)
		}
	}
	names, err := v.On(v.Target()).List(ctx, kube.ManifestsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	running, err := process.Find(ctx, v.On(v.Target()), "etcd")
	if err != nil {
		return err
	}
	if slices.Contains(names, "etcd.yaml") || len(running) > 0 {
		return fmt.Errorf("an etcd runs on %s, or is meant to: a reset might take its data, so nothing is done; take it away first, or take the node out by hand", v.Target())
	}
	return nil
}

// Files are those that the steps of this package make.
func (Topology) Files() membership.Files {
	return membership.Files{PKI: PKIDir, Data: DataDir, Owner: "etcd"}
}

// Sign lets kubeadm do it, where the CA lives.
func (Topology) Sign(ctx context.Context, h phases.Writer, names map[string][]string, kinds ...string) ([]remote.File, error) {
	return SignMember(ctx, h, names, kinds...)
}
