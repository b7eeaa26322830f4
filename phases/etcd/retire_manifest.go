package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
)

const (
	retireManifestID = "etcd/retire-manifest"
	archiveDataID    = "etcd/archive-data"
)

// retireManifest moves the old member's manifest out of the kubelet's sight.
func retireManifest() phases.Step {
	return phases.Step{
		ID:     retireManifestID,
		Title:  "Archive the old member's static pod manifest",
		Why:    "The kubelet would start the removed member for ever, and on an empty folder it would found a new cluster with the same ID.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{removeMemberID},
		ByHand: "```\nmkdir -p -m 0700 " + phases.EtcdArchive + "\nmv /etc/kubernetes/manifests/etcd.yaml " + phases.EtcdArchive + "/\npgrep -x etcd    # until there is none\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			f, err := v.On(v.Target()).ReadFile(ctx, phases.EtcdManifest)
			if errors.Is(err, fs.ErrNotExist) {
				return phases.Done("there is no etcd.yaml in the manifests folder"), nil
			}
			if err != nil {
				return migrate.Finding{}, err
			}
			finding := phases.Need(migrate.Before{"manifest": phases.EtcdManifest, "archive": phases.EtcdArchive},
				"etcd.yaml is in the manifests folder")
			// Moved, not changed; its text may hold a proxy's password.
			digest := fmt.Sprintf("sha256:%x\n", sha256.Sum256(f.Data))
			finding.Changes = []migrate.Change{
				{Object: v.Target() + ":" + phases.EtcdManifest, Before: digest},
				{Object: v.Target() + ":" + path.Join(phases.EtcdArchive, "etcd.yaml"), After: digest},
			}
			return finding, nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			// A live voter's manifest is never taken away.
			members, _, err := list(ctx, h.View)
			if err != nil {
				return err
			}
			if m, ok := oldMember(members, h.View); ok {
				return fmt.Errorf("member %s (%s) is none of the etcd hosts' and is still in the list", m.Name, m.PeerHost())
			}
			return putManifestAway(ctx, h)
		},
		// The process and the pod: the kubelet may hold on to a container for
		// its grace period, and may be between two starts of one that ends.
		Verify: oldPodGone,
		Undo:   undoRetireManifest,
		Settle: kubeletStarts, WaitsFor: "kubelet",
	}
}

// archiveData moves the old member's data next to its manifest. It is never
// started again; it is kept for whoever has to look.
func archiveData() phases.Step {
	return phases.Step{
		ID:     archiveDataID,
		Title:  "Archive the old member's data",
		Why:    "Data of a removed member that lies where etcd looks for it is a trap.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{retireManifestID},
		ByHand: "```\nmv /var/lib/etcd/member " + phases.EtcdArchive + "/member\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			dir, err := oldDataDir(ctx, v)
			if errors.Is(err, fs.ErrNotExist) {
				return phases.Done("there was no etcd on %s", v.Target()), nil
			}
			if err != nil {
				return migrate.Finding{}, err
			}
			names, err := v.On(v.Target()).List(ctx, path.Join(dir, "member"))
			if errors.Is(err, fs.ErrNotExist) {
				return phases.Done("%s is empty", dir), nil
			}
			if err != nil {
				return migrate.Finding{}, err
			}
			archive, err := dataArchive(ctx, v, dir)
			if err != nil {
				return migrate.Finding{}, err
			}
			return phases.Need(migrate.Before{"data": path.Join(dir, "member"), "archive": archive},
				"%s/member is there (%s); it goes to %s", dir, strings.Join(names, ", "), archive), nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			if err := oldPodGone(ctx, h.View); err != nil {
				return err
			}
			return putDataAway(ctx, h)
		},
		Verify: func(ctx context.Context, v phases.View) error {
			dir, err := oldDataDir(ctx, v)
			if err != nil {
				return err
			}
			_, err = v.On(v.Target()).List(ctx, path.Join(dir, "member"))
			if err == nil {
				return fmt.Errorf("%s:%s is still there", v.Target(), path.Join(dir, "member"))
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		},
		Undo:   undoArchiveData,
		Settle: 30 * time.Second,
	}
}
