package external

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/etcd/membership"
)

// mayLeave refuses where a member that goes would take more with it: an API
// server that uses it, or the quorum of those that stay. One that leads has
// handed over then: it may have come to it since the leader was moved.
func mayLeave(ctx context.Context, h phases.Writer) error {
	if err := usesOldMemberAlone(ctx, h.Reader); err != nil {
		return err
	}
	if err := noAPIServerUses(ctx, h.Reader, h.Self().Address); err != nil {
		return err
	}
	if err := membership.OthersServe(ctx, h.Reader, h.Target()); err != nil {
		return err
	}
	return membership.LeaderToOldMember(ctx, h)
}

// noAPIServerUses looks at the manifests and at all API servers that run, the
// second one of an overlap included.
func noAPIServerUses(ctx context.Context, v phases.Reader, address string) error {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	ours := append(slices.Clone(v.Spec().ControlPlane.Joining), v.First())
	for name, n := range nodes {
		if kube.IsControlPlane(n) && !slices.ContainsFunc(ours, func(h cluster.Host) bool { return h.Name == name }) {
			return fmt.Errorf("control-plane node %s is not in the spec, so nobody can say which members its API server uses: list it in spec.controlPlane.joining, or take it out of the cluster first", name)
		}
	}
	for _, h := range ours {
		if n, ok := nodes[h.Name]; !ok || !kube.IsControlPlane(n) {
			continue
		}
		list, err := apiserver.Processes(ctx, v.On(h.Name))
		if err != nil {
			return err
		}
		uses := make([]kube.Flags, 0, len(list)+1)
		for _, p := range list {
			uses = append(uses, p.Flags)
		}
		f, err := v.On(h.Name).ReadFile(ctx, phases.APIServerManifest)
		if err != nil {
			return err
		}
		m, err := kube.ParseManifest(f.Data)
		if err != nil {
			return fmt.Errorf("on %s: %w", h.Name, err)
		}
		for _, flags := range append(uses, m.Flags()) {
			if servers, _ := flags.Get("etcd-servers"); strings.Contains(servers, "//"+address+":") {
				return fmt.Errorf("an API server on %s uses it (--etcd-servers=%s): point it to the old member first", h.Name, servers)
			}
		}
	}
	return nil
}

// alone refuses as long as the old member has others beside it: they reach it
// by what is about to be taken away.
func alone(ctx context.Context, v phases.Reader) error {
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	if _, ok := membership.OldMember(members, v); !ok || len(members) != 1 {
		return fmt.Errorf("the old member on %s is not the only one, and the others reach it there: %s", v.First().Name, membership.Describe(members))
	}
	return nil
}
