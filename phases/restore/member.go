package restore

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/etcd"
	"hamigrate/phases/etcd/membership"
)

const (
	uploadID = "restore/upload"
	memberID = "restore/member"
	startID  = "restore/start-etcd"

	restoredMark = "restored"
	// MemberCommand is the program's command that restores a member on its
	// host.
	MemberCommand = "restore-member"
)

func (o Options) snapshotFile() string { return o.mark("etcd.db") }
func (o Options) programFile() string  { return o.mark("migrate") }

func (o Options) upload() phases.Step {
	return phases.Step{
		ID:    uploadID,
		Title: "Copy the snapshot and this program to the host",
		Why:   "All members are made from one snapshot, by etcd's own code that is built into this program.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{setAsideID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("the data is restored already"), err
			}
			if err := o.uploaded(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("both are there, with the right checksums"), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			host := h.On(h.Target())
			script := fmt.Sprintf("install -d -m 0700 %[1]s %[1]s/restore %[2]s", phases.StateDir, o.dir())
			if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
				return fmt.Errorf("making %s on %s: %w", o.dir(), h.Target(), err)
			}
			if err := host.Copy(ctx, o.Snapshot.From, o.Snapshot.Path, remote.File{Path: o.snapshotFile(), Mode: 0o600, Owner: "root:root"}); err != nil {
				return err
			}
			return host.Copy(ctx, o.Program.From, o.Program.Path, remote.File{Path: o.programFile(), Mode: 0o700, Owner: "root:root"})
		},
		Verify: o.uploaded,
		OneWay: oneWay,
		Settle: time.Minute,
	}
}

func (o Options) uploaded(ctx context.Context, v phases.View) error {
	for file, want := range map[string]string{o.snapshotFile(): o.Snapshot.SHA256, o.programFile(): o.Program.SHA256} {
		sum, err := v.Digest(ctx, v.Target(), file)
		if err != nil {
			return err
		}
		if sum != want || want == "" {
			return fmt.Errorf("%s is not on %s yet", path.Base(file), v.Target())
		}
	}
	return nil
}

func (o Options) member() phases.Step {
	return phases.Step{
		ID:    memberID,
		Title: "Restore the member's data",
		Why: "The same snapshot, names and peer URLs as the others, a new token, and a revision that nobody has seen: " +
			"clients that remember more than the snapshot holds must not take old for new.",
		On:     migrate.EtcdHosts,
		Needs:  []migrate.StepID{uploadID},
		Check:  o.onMark(restoredMark, "the data is restored", "the data folder is empty"),
		Apply:  o.applyMember,
		Verify: o.verifyMember,
		OneWay: oneWay,
		Settle: 30 * time.Second,
	}
}

func (o Options) applyMember(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	self, files := h.Self(), etcd.Of(h.Spec()).Files()
	restore := remote.Cmd(o.programFile(), MemberCommand, "--snapshot", o.snapshotFile(), "--data-dir", files.Data, "--owner", files.Owner,
		"--name", self.Name, "--peer-url", membership.PeerURL(self), "--initial-cluster", InitialCluster(h.Spec()), "--token", o.ID)
	script := fmt.Sprintf("set -eu; umask 077\ninstall -d -m 0700 -o %[1]s -g %[1]s %[2]s\n[ -e %[3]s ] || %[4]s\n", files.Owner, files.Data, dataOf(h.View), restore.Script) + o.setMark(restoredMark)
	if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("restoring the member on %s: %w", h.Target(), err)
	}
	return nil
}

func (o Options) verifyMember(ctx context.Context, v phases.View) error {
	if there, err := exists(ctx, v.On(v.Target()), dataOf(v)); err != nil || !there {
		return orErr(err, "there is no %s on %s", dataOf(v), v.Target())
	}
	return o.verifyMark(restoredMark)(ctx, v)
}

// start starts all members: none serves before two of them run.
func (o Options) start() phases.Step {
	return phases.Step{
		ID:    startID,
		Title: "Start the members",
		Why:   "They must be one cluster, with one leader and the same data, before anything writes.",
		On:    migrate.Once,
		Needs: []migrate.StepID{memberID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			if err := o.oneCluster(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("all members are of cluster %x and hold the same data", o.ClusterID), nil
		},
		Apply:  o.applyStart,
		Verify: o.oneCluster,
		OneWay: oneWay,
		Settle: 3 * time.Minute, WaitsFor: "etcd",
	}
}

func (o Options) applyStart(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	planes, err := h.World().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return err
	}
	for _, node := range planes {
		back, err := o.marked(ctx, h.View, node, backMark(apiServerPod))
		if err != nil {
			return err
		}
		if back {
			continue // a later attempt: it was stopped before the first one
		}
		if err := o.stopped(ctx, h.View, node); err != nil {
			return fmt.Errorf("starting the members: nothing may write yet, but %w", err)
		}
	}
	for _, self := range h.Spec().EtcdMembers() {
		if err := etcd.Of(h.Spec()).Start(ctx, h, self.Name, InitialCluster(h.Spec())); err != nil {
			return err
		}
	}
	return nil
}

// oneCluster wants all members to answer, to be of the restored cluster, to
// know one leader and to hold the same data.
func (o Options) oneCluster(ctx context.Context, v phases.View) error {
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	answers := e.Statuses(ctx)
	if len(answers) < len(v.Spec().EtcdMembers()) {
		return fmt.Errorf("%d of %d members answer", len(answers), len(v.Spec().EtcdMembers()))
	}
	for _, a := range answers {
		switch s := a.Status; {
		case a.Err != nil:
			return a.Err
		case s.ClusterID != o.ClusterID:
			return fmt.Errorf("the member on %s is of cluster %x, the restored one is %x", a.Host, s.ClusterID, o.ClusterID)
		case s.Leader == 0 || s.Leader != answers[0].Status.Leader:
			return fmt.Errorf("the members know no one leader")
		case s.Revision <= o.Revision:
			return fmt.Errorf("the member on %s is at revision %d, and its clients know later ones: it was not restored by this program", a.Host, s.Revision)
		}
	}
	return membership.SameHistory(ctx, e)
}

const masterLeasesID = "restore/masterleases"

func (o Options) masterLeases() phases.Step {
	return phases.Step{
		ID:    masterLeasesID,
		Title: "Remove the API servers' leases that came with the snapshot",
		Why:   "An API server that is no more would stay among the kubernetes Service's endpoints, and every n-th connection would hang.",
		On:    migrate.Once,
		Needs: []migrate.StepID{startID},
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			stale, err := o.staleLeases(ctx, v)
			switch {
			case err != nil:
				return phases.Need(migrate.Before{}, "etcd does not answer yet"), nil
			case len(stale) > 0:
				return phases.Need(migrate.Before{}, "of no running API server: %s", strings.Join(stale, ", ")), nil
			}
			return phases.Done("every lease is of an API server that runs"), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			stale, err := o.staleLeases(ctx, h.View)
			if err != nil {
				return err
			}
			e, err := h.Etcd(ctx)
			if err != nil {
				return err
			}
			for _, key := range stale {
				if err := e.Delete(ctx, key); err != nil {
					return err
				}
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.View) error {
			stale, err := o.staleLeases(ctx, v)
			if err != nil || len(stale) > 0 {
				return orErr(err, "still there: %s", strings.Join(stale, ", "))
			}
			return nil
		},
		OneWay: oneWay,
		Settle: 30 * time.Second,
	}
}

// staleLeases lists those of addresses at which no API server runs.
func (o Options) staleLeases(ctx context.Context, v phases.View) ([]string, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := e.Keys(ctx, apiserver.Leases)
	if err != nil {
		return nil, err
	}
	planes, err := v.World().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, node := range planes {
		p, running, err := v.APIServer(ctx, node)
		if err != nil {
			return nil, err
		}
		if address, ok := p.Flags.Get("advertise-address"); running && ok {
			live[apiserver.Leases+address] = true
		} else if running {
			live[apiserver.Leases+v.World().View(node).Self().Address] = true
		}
	}
	var stale []string
	for _, key := range keys {
		if !live[key] {
			stale = append(stale, key)
		}
	}
	return stale, nil
}
