package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
)

// Guard checks what must hold between any two steps of any phase:
//
//   - every API server answers /readyz with 200, asked one by one;
//   - every node that was Ready at the first look is Ready;
//   - every etcd voter answers, knows the leader, and reports the one
//     cluster ID; no alarm is raised.
func Guard(ctx context.Context, v View) error {
	nodes, err := v.guardNodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		cfg, err := v.world.restConfig(ctx, node)
		if err != nil {
			return err
		}
		if err := kube.Readyz(ctx, cfg); err != nil {
			return fmt.Errorf("checking the API server on %s: %w", node, err)
		}
	}
	return v.guardEtcd(ctx)
}

// guardNodes checks the nodes' readiness and returns the control-plane nodes
// of the spec that are in the cluster.
func (v View) guardNodes(ctx context.Context) ([]string, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var planes, lost []string
	v.world.mu.Lock()
	defer v.world.mu.Unlock()
	if v.world.wasReady == nil {
		v.world.wasReady = map[string]bool{}
	}
	for name, n := range nodes {
		ready := kube.Ready(n)
		if !ready && v.world.wasReady[name] {
			lost = append(lost, name)
		}
		if ready {
			v.world.wasReady[name] = true
		}
		// A joining node counts from its first Ready on: the step that joins
		// it has waited for that.
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

func (v View) guardEtcd(ctx context.Context) error {
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	alarms, err := e.Alarms(ctx)
	if err != nil {
		return err
	}
	if len(alarms) > 0 {
		return fmt.Errorf("checking etcd: alarm %s", strings.Join(alarms, ", "))
	}
	answered := map[uint64]bool{}
	var clusterID uint64
	for _, host := range e.Hosts() {
		s, err := e.Status(ctx, host)
		if err != nil {
			continue // counted below: a voter that does not answer is named
		}
		if clusterID != 0 && s.ClusterID != clusterID {
			return fmt.Errorf("checking etcd: the member on %s is of cluster %x, the others of %x: two clusters", host, s.ClusterID, clusterID)
		}
		clusterID = s.ClusterID
		if s.Leader == 0 {
			return fmt.Errorf("checking etcd: the member on %s knows no leader", host)
		}
		answered[s.MemberID] = true
	}
	var errs []error
	for _, m := range members {
		if !m.Learner && !answered[m.ID] {
			errs = append(errs, fmt.Errorf("checking etcd: voter %s (%s) does not answer", m.Name, m.PeerHost()))
		}
	}
	return errors.Join(errs...)
}
