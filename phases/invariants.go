package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/kube"
)

// readyNodes are the nodes that were Ready at some look: one that never was is no
// loss.
type readyNodes struct {
	mu     sync.Mutex
	before map[string]bool
}

// CheckInvariants checks what must hold between any two steps of any phase:
//
//   - every API server answers /readyz with 200, asked one by one;
//   - every node that was Ready at the first look is Ready;
//   - every etcd voter answers, knows the leader, and reports the one
//     cluster ID; no alarm is raised.
//
// The API and etcd are asked side by side: the invariants are checked between any two
// steps, and is much of what a run does itself. Nothing is remembered from
// one check to the next but who was Ready.
func CheckInvariants(ctx context.Context, v Reader) error {
	var api, members error
	_ = parallel.Do(
		func() error { api = v.checkAPIServers(ctx); return nil },
		func() error { members = v.checkVoters(ctx); return nil })
	return errors.Join(api, members)
}

// checkAPIServers checks the nodes and then each API server, over a connection of
// its own: one that takes no new connections must not pass.
func (v Reader) checkAPIServers(ctx context.Context) error {
	nodes, err := v.checkNodes(ctx)
	if err != nil {
		return err
	}
	return parallel.Each(nodes, func(_ int, node string) error {
		cfg, err := v.access.restConfig(ctx, node)
		if err == nil {
			err = kube.Readyz(ctx, cfg)
		}
		if err != nil {
			return fmt.Errorf("checking the API server on %s: %w", node, err)
		}
		return nil
	})
}

// checkNodes checks the nodes' readiness and returns the control-plane nodes
// of the spec that are in the cluster.
func (v Reader) checkNodes(ctx context.Context) ([]string, error) {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var planes, lost []string
	v.access.ready.mu.Lock()
	defer v.access.ready.mu.Unlock()
	for name, n := range nodes {
		ready := kube.Ready(n)
		if !ready && v.access.ready.before[name] {
			lost = append(lost, name)
		}
		if ready {
			v.access.ready.before[name] = true
		}
		// A joining node counts from its first Ready on, which the step that
		// joins it waits for.
		if kube.IsControlPlane(n) && ready && (name == v.First().Name || slices.Contains(names(v.Spec().ControlPlane.Joining), name)) {
			planes = append(planes, name)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		return nil, fmt.Errorf("checking the nodes: %s not Ready any more", strings.Join(lost, ", "))
	}
	slices.Sort(planes)
	return planes, nil
}

func (v Reader) checkVoters(ctx context.Context) error {
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	look, err := e.Glance(ctx)
	if err != nil {
		return err
	}
	if len(look.Alarms) > 0 {
		return fmt.Errorf("checking etcd: alarm %s", strings.Join(look.Alarms, ", "))
	}
	answered := map[uint64]bool{}
	var clusterID uint64
	for _, a := range look.Answers {
		if a.Err != nil {
			continue // counted below: a voter that does not answer is named
		}
		s := a.Status
		if clusterID != 0 && s.ClusterID != clusterID {
			return fmt.Errorf("checking etcd: the member on %s is of cluster %x, the others of %x: two clusters", a.Host, s.ClusterID, clusterID)
		}
		clusterID = s.ClusterID
		if s.Leader == 0 {
			return fmt.Errorf("checking etcd: the member on %s knows no leader", a.Host)
		}
		answered[s.MemberID] = true
	}
	var errs []error
	for _, m := range look.Members {
		if !m.Learner && !answered[m.ID] {
			errs = append(errs, fmt.Errorf("checking etcd: voter %s (%s) does not answer", m.Name, m.PeerHost()))
		}
	}
	return errors.Join(errs...)
}
