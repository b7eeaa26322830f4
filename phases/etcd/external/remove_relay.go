package external

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// removeRelay takes it away when the old member is gone.
func removeRelay() phases.Step {
	return phases.Step{
		ID:     removeRelayID,
		Title:  "Remove the relay of the old member's peer port",
		Why:    "It leads nowhere any more.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{removeMemberID, retireManifestID},
		When:   overlapped(),
		ByHand: "```\nsystemctl disable --now " + relayName + ".socket " + relayName + ".service\nrm /etc/systemd/system/" + relayName + ".*; systemctl daemon-reload\n```\n",
		Check:  checkRemoveRelay,
		Apply:  func(ctx context.Context, h phases.Writer, _ migrate.Before) error { return takeRelayDown(ctx, h) },
		Verify: func(ctx context.Context, v phases.Reader) error {
			f, err := checkRemoveRelay(ctx, v)
			if err != nil {
				return err
			}
			if f.Verdict != migrate.Satisfied {
				return errors.New(f.Reason)
			}
			return nil
		},
		Undo:   undoRemoveRelay,
		Settle: 20 * time.Second,
	}
}

func takeRelayDown(ctx context.Context, h phases.Writer) error {
	script := fmt.Sprintf(`set -eu; cd %s
[ ! -e %[2]s.socket ] || systemctl disable --now --quiet %[2]s.socket
systemctl stop %[2]s.service 2>/dev/null || true
rm -f %[2]s.socket %[2]s.service; systemctl daemon-reload`, unitDir, relayName)
	if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("removing the relay on %s: %w", h.Target(), err)
	}
	return nil
}

// checkRemoveRelay says "needed" already while the relay is still to be set
// up, so that the plan of a whole phase shows both.
func checkRemoveRelay(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	script := fmt.Sprintf("ls %s 2>/dev/null | grep -c '^%s' || true; systemctl is-active %s.service %s.socket | grep -cx active || true", unitDir, relayName, relayName, relayName)
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: script, Waits: true})
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("looking for the relay on %s: %w", v.Target(), err)
	}
	if strings.Join(strings.Fields(out), " ") != "0 0" {
		return phases.Need(migrate.Before{"relay": "present"}, "the relay is set up"), nil
	}
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	if running && old.LocalOnly {
		return phases.Need(migrate.Before{"relay": "absent"}, "the relay will have been set up by then"), nil
	}
	return phases.Done("there is no relay"), nil
}

// undoRemoveRelay sets the relay up again before the old member runs, so that
// the others reach it from its first moment on.
func undoRemoveRelay(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	old, running, err := h.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if running {
		return setUpRelay(ctx, h, old.PeerAddress)
	}
	m, err := h.OldEtcdManifest(ctx)
	if err != nil {
		return err
	}
	target, local := etcdflags.ListenAddress(m.Flags(), listenPeers)
	if !local {
		return fmt.Errorf("the old member's manifest was changed since: by it the member listens for others on %s itself, so the relay is not set up again", target)
	}
	return setUpRelay(ctx, h, target)
}
