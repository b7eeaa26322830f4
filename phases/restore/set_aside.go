package restore

import (
	"context"
	"fmt"
	"path"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
)

func (o Options) setAside() phases.Step {
	return phases.Step{
		ID:    setAsideID,
		Title: "Set aside what is left of the data",
		Why:   "Nothing is deleted: it may be all that is left of the writes since the snapshot.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{stopEtcdID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			lost, err := o.lostDir(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("the data is restored already; what was there before is in %s, if anything was", lost), err
			}
			if there, err := exists(ctx, v.On(v.Target()), dataOf(v)); err != nil || !there {
				return phases.Done("there is no %s", dataOf(v)), err
			}
			return phases.Need(migrate.Before{"goes to": lost}, "there is %s; it goes to %s", dataOf(v), lost), nil
		},
		Apply: o.applySetAside,
		Verify: func(ctx context.Context, v phases.Reader) error {
			there, err := exists(ctx, v.On(v.Target()), dataOf(v))
			if err != nil || there {
				return orErr(err, "%s is still on %s", dataOf(v), v.Target())
			}
			return nil
		},
		OneWay: oneWay,
		Settle: 10 * time.Second,
	}
}

// dataOf is what etcd's data folder holds of a member.
func dataOf(v phases.Reader) string { return path.Join(etcd.Of(v.Spec()).Files().Data, "member") }

// lostDir is where what is left of the old data goes on a host. From a disk of
// its own it goes to another name in the data folder, where etcd does not look
// for it: to copy gigabytes to another disk takes minutes, and may fill that
// one.
func (o Options) lostDir(ctx context.Context, v phases.Reader) (string, error) {
	data := etcd.Of(v.Spec()).Files().Data
	same, err := hostfiles.SameDisk(ctx, v.On(v.Target()), data, hostfiles.StateDir)
	if err != nil || same {
		return path.Join(hostfiles.StateDir, "lost", o.ID), err
	}
	return path.Join(data, "migrate-lost", o.ID), nil
}

func (o Options) applySetAside(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	if there, err := exists(ctx, host, dataOf(h.Reader)); err != nil || !there {
		return err
	}
	lost, err := o.lostDir(ctx, h.Reader)
	if err != nil {
		return err
	}
	script := fmt.Sprintf("install -d -m 0700 %s %s %s", hostfiles.StateDir, path.Dir(lost), lost)
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making %s on %s: %w", lost, h.Target(), err)
	}
	names, err := host.List(ctx, lost)
	if err != nil {
		return err
	}
	// What a run that was killed has moved stays beside it.
	return host.Rename(ctx, dataOf(h.Reader), path.Join(lost, fmt.Sprintf("member-%d", len(names)+1)))
}
