package external

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
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
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
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
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			// A live voter's manifest is never taken away.
			members, _, err := membership.List(ctx, h.Reader)
			if err != nil {
				return err
			}
			if m, ok := membership.OldMember(members, h.Reader); ok {
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

// undoRetireManifest has nothing to do where the manifest was not moved yet;
// what runs by it is then the removed member, which the step before sees to.
func undoRetireManifest(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	f, there, err := oldManifest(ctx, h.Reader)
	if err != nil {
		return err
	}
	if there && !isJoining(f.Data) {
		if listed, err := oldListed(ctx, h.Reader); err != nil || !listed {
			return err
		}
	}
	return rejoin(ctx, h, original)
}
