package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	adapter "hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
	"hamigrate/phases/overlap"
)

// Look is what there is to say before a restore.
type Look struct {
	Planes  []string // control-plane nodes with an API server
	Members []Member
	// Refused says why nothing may be restored; empty: it may.
	Refused string
}

// Member is one etcd host as it was found.
type Member struct {
	Host     string
	Answers  bool
	Revision int64  // of a member that answers
	State    string // systemd's word for etcd.service
}

// See looks at what is there and says why a restore must be refused.
func (o Options) See(ctx context.Context, v phases.Reader) (Look, error) {
	var l Look
	var err error
	if l.Planes, err = v.Access().Targets(ctx, migrate.ControlPlanes); err != nil {
		return l, err
	}
	for _, node := range l.Planes {
		if l.Refused, err = notExternal(ctx, v, node); err != nil || l.Refused != "" {
			return l, err
		}
	}
	for _, h := range v.Spec().EtcdMembers() {
		if l.Refused, err = o.hostRefuses(ctx, v, h.Name); err != nil || l.Refused != "" {
			return l, err
		}
	}
	if l.Members, err = seeMembers(ctx, v); err != nil {
		return l, err
	}
	l.Refused, err = o.quorumRefuses(ctx, v)
	return l, err
}

// membersTimeout bounds the search for a quorum: members without one make who
// asks wait, one after the other, and the check of the invariants has 20 s for all it asks.
const membersTimeout = 15 * time.Second

// quorumRefuses: where a quorum of another cluster than the restored one
// answers, a restore would only lose what was written since the snapshot.
func (o Options) quorumRefuses(ctx context.Context, v phases.Reader) (string, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return "", err
	}
	var noQuorum error
	var answers []adapter.Answer
	_ = parallel.Do(
		func() error {
			ctx, cancel := context.WithTimeout(ctx, membersTimeout)
			defer cancel()
			_, noQuorum = e.Members(ctx)
			return nil
		},
		func() error { answers = e.Statuses(ctx); return nil })
	if noQuorum != nil {
		return o.perhapsQuorum(ctx, v, answers)
	}
	for _, a := range answers {
		if a.Err == nil && a.Status.ClusterID == o.ClusterID {
			return "", nil // it is ours, and is finished
		}
	}
	return "a quorum of etcd's members answers, so nothing must be restored: it would lose every write since the snapshot. " +
		"A single lost member is replaced, see docs/troubleshooting.md; `migrate plan` shows what each step sees", nil
}

// perhapsQuorum: that nobody could be asked is no proof that nobody is there.
// With an expired client certificate every member of a cluster that is well
// refuses the handshake. A quorum that is lost shows in members that do not
// listen, or that say that they know no leader. Those of this very restore hold
// what it gave them; one that says that it is of another cluster is none of
// them, whatever the marks say: somebody else has restored it since.
func (o Options) perhapsQuorum(ctx context.Context, v phases.Reader, answers []adapter.Answer) (string, error) {
	var perhaps, why []string
	for _, a := range answers {
		switch {
		case a.Err != nil:
			ours, err := o.marked(ctx, v, a.Host, restoredMark)
			if err != nil {
				return "", err
			}
			if !ours {
				perhaps, why = append(perhaps, a.Host), append(why, a.Err.Error())
			}
		case a.Status.Leader != 0 && a.Status.ClusterID != o.ClusterID:
			perhaps, why = append(perhaps, a.Host), append(why, fmt.Sprintf("the member on %s knows a leader", a.Host))
		}
	}
	if len(perhaps) <= len(v.Spec().EtcdMembers())/2 {
		return "", nil // no quorum: that is what a restore is for
	}
	return fmt.Sprintf("%d members of etcd listen and may be a quorum (%s): a restore would lose every write since the snapshot. They could not be asked: %s. "+
		"Fix that first; if their data is really lost, stop etcd there (`systemctl stop etcd` on each) and run again",
		len(perhaps), strings.Join(perhaps, ", "), strings.Join(why, "; ")), nil
}

// notExternal refuses a cluster whose etcd is not on the etcd hosts.
func notExternal(ctx context.Context, v phases.Reader, node string) (string, error) {
	if temporary, err := exists(ctx, v.On(node), overlap.ManifestPath); err != nil || temporary {
		return fmt.Sprintf("a second API server runs on %s, of a phase 2 that is half done: remove %s there first, and run again", node, overlap.ManifestPath), err
	}
	f, err := v.APIServerManifest(ctx, node)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("there is no kube-apiserver.yaml on %s, neither in %s nor in %s: put it back from the backup's archive first", node, kube.ManifestsDir, phases.DisabledDir), nil
	}
	if err != nil {
		return "", err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", node, err)
	}
	servers, _ := m.Flags().Get("etcd-servers")
	for server := range strings.SplitSeq(servers, ",") {
		if !slices.Contains(etcd.Of(v.Spec()).Servers(v.Spec(), node), server) {
			return fmt.Sprintf("the API server on %s uses etcd at %s, which is on none of the etcd hosts: `migrate restore` is for etcd on hosts of its own, after phase 2; docs/restore.md says how by hand", node, server), nil
		}
	}
	return "", nil
}

func (o Options) hostRefuses(ctx context.Context, v phases.Reader, host string) (string, error) {
	version, missing, err := etcd.Of(v.Spec()).Version(ctx, v, host)
	if err != nil {
		return "", err
	}
	if missing != "" {
		return fmt.Sprintf("%s has no %s: prepare it as phase 2 does, see `migrate playbook --phase 2`, and run again", host, missing), nil
	}
	if o.FitsServer != nil {
		if err := o.FitsServer(version); err != nil {
			return fmt.Sprintf("%s: %v", host, err), nil
		}
	}
	return o.machineRefuses(ctx, v, host)
}

// machineRefuses: a program that does not run there would be found out when
// everything is stopped and set aside.
func (o Options) machineRefuses(ctx context.Context, v phases.Reader, host string) (string, error) {
	if o.RunsOn == nil {
		return "", nil
	}
	machine, err := v.On(host).Look(ctx, remote.Cmd("uname", "-sm"))
	if err != nil {
		return "", fmt.Errorf("asking %s what machine it is: %w", host, err)
	}
	if err := o.RunsOn(machine); err != nil {
		return fmt.Sprintf("the data on %s is restored by a copy of this program, and %v: run `migrate restore` from a machine like that one, with the journal and the backup", host, err), nil
	}
	return "", nil
}

func seeMembers(ctx context.Context, v phases.Reader) ([]Member, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	answers := e.Statuses(ctx)
	var out []Member
	for _, h := range v.Spec().EtcdMembers() {
		state, err := etcd.Of(v.Spec()).State(ctx, v, h.Name)
		if err != nil {
			return nil, err
		}
		m := Member{Host: h.Name, State: state}
		for _, a := range answers {
			if a.Host == h.Name && a.Err == nil {
				m.Answers, m.Revision = true, a.Status.Revision
			}
		}
		out = append(out, m)
	}
	return out, nil
}
