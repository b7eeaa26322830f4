package restore

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
	"hamigrate/phases/etcd/membership"
)

const (
	restoredMark = "restored"
	// MemberCommand is the program's command that restores a member on its
	// host.
	MemberCommand = "restore-member"
)

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

func (o Options) applyMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	self, files := h.Self(), etcd.Of(h.Spec()).Files()
	restore := remote.Cmd(o.programFile(), MemberCommand, "--snapshot", o.snapshotFile(), "--data-dir", files.Data, "--owner", files.Owner,
		"--name", self.Name, "--peer-url", membership.PeerURL(self), "--initial-cluster", InitialCluster(h.Spec()), "--token", o.ID)
	script := fmt.Sprintf("set -eu; umask 077\ninstall -d -m 0700 -o %[1]s -g %[1]s %[2]s\n[ -e %[3]s ] || %[4]s\n", files.Owner, files.Data, dataOf(h.Reader), restore.Script) + o.setMark(restoredMark)
	if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("restoring the member on %s: %w", h.Target(), err)
	}
	return nil
}

func (o Options) verifyMember(ctx context.Context, v phases.Reader) error {
	if there, err := exists(ctx, v.On(v.Target()), dataOf(v)); err != nil || !there {
		return orErr(err, "there is no %s on %s", dataOf(v), v.Target())
	}
	return o.verifyMark(restoredMark)(ctx, v)
}
