package etcd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// undoPromote removes the member: a voter can't be demoted. Its unit is
// disabled before, so that a removed member does not come back with its host,
// and stopped after, so that the votes of those that stay are enough at every
// moment.
func undoPromote(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	members, _, err := list(ctx, h.View)
	if err != nil {
		return err
	}
	m, ok := memberOn(members, h.Self())
	switch {
	case !ok:
		return stopUnit(ctx, h) // an attempt before was cut after the removal
	case m.Learner:
		return nil // it was not promoted
	}
	if err := mayLeave(ctx, h); err != nil {
		return fmt.Errorf("the member on %s is not removed: %w", h.Target(), err)
	}
	if err := disableUnit(ctx, h); err != nil {
		return err
	}
	if err := removeVoter(ctx, h, m); err != nil {
		return err
	}
	err = phases.Await(ctx, h.View, time.Minute, func(ctx context.Context) error { return othersServe(ctx, h.View, h.Target()) })
	if err != nil {
		return fmt.Errorf("waiting for the members that stay: %w", err)
	}
	return stopUnit(ctx, h)
}

// mayLeave refuses where a member that goes would take more with it: an API
// server that uses it, or the quorum of those that stay. One that leads has
// handed over then: it may have come to it since the leader was moved.
func mayLeave(ctx context.Context, h phases.Hands) error {
	if err := usesOldMemberAlone(ctx, h.View); err != nil {
		return err
	}
	if err := noAPIServerUses(ctx, h.View, h.Self().Address); err != nil {
		return err
	}
	if err := othersServe(ctx, h.View, h.Target()); err != nil {
		return err
	}
	return leaderToOldMember(ctx, h)
}

// noAPIServerUses looks at the manifests and at all API servers that run, the
// second one of an overlap included.
func noAPIServerUses(ctx context.Context, v phases.View, address string) error {
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
		list, err := phases.Processes(ctx, v.On(h.Name), "kube-apiserver")
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

// othersServe wants every voter but the one on a host to answer and to know
// the leader, all of one cluster.
func othersServe(ctx context.Context, v phases.View, but string) error {
	members, e, err := list(ctx, v)
	if err != nil {
		return err
	}
	answers := map[uint64]etcd.Status{}
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil && a.Host != but {
			answers[a.Status.MemberID] = a.Status
		}
	}
	leaving, _ := memberOn(members, hostOf(v, but))
	var clusterID uint64
	for _, m := range members {
		if m.Learner || m.ID == leaving.ID {
			continue
		}
		s, ok := answers[m.ID]
		switch {
		case !ok:
			return fmt.Errorf("voter %s (%s), which stays, does not answer", m.Name, m.PeerHost())
		case s.Leader == 0:
			return fmt.Errorf("voter %s (%s), which stays, knows no leader", m.Name, m.PeerHost())
		case clusterID != 0 && s.ClusterID != clusterID:
			return fmt.Errorf("voter %s (%s) is of cluster %x, the others of %x", m.Name, m.PeerHost(), s.ClusterID, clusterID)
		}
		clusterID = s.ClusterID
	}
	if clusterID == 0 {
		return fmt.Errorf("no voter would stay: %s", describe(members))
	}
	return nil
}

// removeVoter asks a member that stays.
func removeVoter(ctx context.Context, h phases.Hands, m etcd.Member) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	return changeMembership(ctx, h.World(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		if _, ok := memberOn(members, h.Self()); !ok {
			return nil
		}
		host, s, err := aVoterHost(ctx, &e.Reader)
		switch {
		case err != nil:
			return err
		case s.Leader == m.ID:
			return fmt.Errorf("the member on %s has become the leader again: run once more", h.Target())
		case host == h.Target():
			host = h.First().Name
		}
		return e.Remove(ctx, host, m.ID)
	})
}

// undoStartMember stops the member and removes its data. Only a learner, or
// one that is removed, is stopped.
func undoStartMember(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	members, e, err := list(ctx, h.View)
	if err != nil {
		return err
	}
	if m, ok := memberOn(members, h.Self()); ok && !m.Learner {
		return fmt.Errorf("the member on %s is not stopped: it is a voter, %s", h.Target(), describe(members))
	}
	if err := ownCluster(ctx, h.View, e); err != nil {
		return err
	}
	if err := errors.Join(disableUnit(ctx, h), stopUnit(ctx, h)); err != nil {
		return err
	}
	if err := removeData(ctx, h); err != nil {
		return err
	}
	return environmentBack(ctx, h)
}

// ownCluster refuses to stop an etcd that belongs to another cluster.
func ownCluster(ctx context.Context, v phases.View, e *etcd.Reader) error {
	if !slices.Contains(e.Hosts(), v.Target()) {
		return nil
	}
	_, leader, err := aVoterHost(ctx, e)
	if err != nil {
		return err
	}
	s, err := e.Status(ctx, v.Target())
	if err == nil && s.ClusterID != leader.ClusterID {
		return fmt.Errorf("etcd on %s is of cluster %x, not of %x, and is left as it is", v.Target(), s.ClusterID, leader.ClusterID)
	}
	return nil // one that does not answer is stopped
}

// removeData removes what the unit that is ours has made: the steps that wrote
// it stop where the folder holds anybody else's.
func removeData(ctx context.Context, h phases.Hands) error {
	host := h.On(h.Target())
	names, err := host.List(ctx, DataDir)
	if err != nil || !slices.Contains(names, "member") {
		return ignoreMissing(err)
	}
	f, err := host.ReadFile(ctx, unitFile)
	if err != nil && ignoreMissing(err) != nil {
		return err
	}
	if !isOurUnit(string(f.Data)) {
		return fmt.Errorf("%s on %s holds data, and etcd.service is not the one that this tool wrote: look whose it is, and move it away", DataDir, h.Target())
	}
	if _, err := host.Run(ctx, remote.Cmd("rm", "-rf", path.Join(DataDir, "member"))); err != nil {
		return fmt.Errorf("removing the data of the member on %s: %w", h.Target(), err)
	}
	return nil
}

// environmentBack removes the file with the initial cluster, or brings back
// what stood in its place.
func environmentBack(ctx context.Context, h phases.Hands) error {
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, EnvFile)
	if err != nil || !strings.HasPrefix(string(f.Data), environmentMark) {
		return ignoreMissing(err)
	}
	_, err = host.ReadFile(ctx, path.Join(phases.BackupDir(startMemberID), EnvFile))
	if ignoreMissing(err) != nil {
		return err
	}
	return fileBack(ctx, host, startMemberID, EnvFile, err == nil)
}

// undoAddLearner takes the learner off the list.
func undoAddLearner(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	return removeLearner(ctx, h, PeerURL(h.Self()))
}

// disableUnit keeps the member from starting with its host.
func disableUnit(ctx context.Context, h phases.Hands) error {
	return unitVerb(ctx, h, "disable", "enabled", "systemctl is-enabled etcd.service 2>/dev/null || true")
}

// stopUnit ends the member, and systemd's attempts to start one that ends.
func stopUnit(ctx context.Context, h phases.Hands) error {
	if err := disableUnit(ctx, h); err != nil {
		return err
	}
	return unitVerb(ctx, h, "stop", "active activating reloading deactivating", "systemctl is-active etcd.service || true")
}

// unitVerb does something to etcd.service on the target where its state is
// one of those, and wants another state then.
func unitVerb(ctx context.Context, h phases.Hands, verb, while, question string) error {
	host := h.On(h.Target())
	for _, again := range []bool{false, true} {
		out, err := host.Look(ctx, remote.Command{Script: question})
		if err != nil {
			return fmt.Errorf("asking systemd on %s for etcd.service: %w", h.Target(), err)
		}
		is := strings.TrimSpace(out)
		if !slices.Contains(strings.Fields(while), is) {
			return nil
		}
		if again {
			return fmt.Errorf("after `systemctl %s etcd.service` on %s it is still %s", verb, h.Target(), is)
		}
		if _, err := host.Run(ctx, remote.Cmd("systemctl", verb, "--quiet", "etcd.service")); err != nil {
			return fmt.Errorf("%s etcd.service on %s: %w", verb, h.Target(), err)
		}
	}
	return nil
}
