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

// Where a member lives on its host.
const (
	DataDir   = etcdflags.DataDir
	ConfigDir = "/etc/etcd"
	PKIDir    = ConfigDir + "/pki"
	Binary    = "/usr/local/bin/etcd"
)

// user makes the system user and the folders of a member.
func user() phases.Step {
	return phases.Step{
		ID:     userID,
		Title:  "Make the user etcd and its folders",
		Why:    "The member runs without root's rights, and its data is nobody else's to read.",
		On:     migrate.EtcdHosts,
		ByHand: "```\nuseradd --system --home-dir " + DataDir + " --no-create-home --shell /usr/sbin/nologin etcd\ninstall -d -m 0700 -o etcd -g etcd " + DataDir + "\ninstall -d -m 0750 -o root -g etcd " + ConfigDir + " " + PKIDir + "\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: userState})
			if err != nil {
				return migrate.Finding{}, fmt.Errorf("looking at the user etcd on %s: %w", v.Target(), err)
			}
			if lines := strings.Fields(out); strings.Join(lines, " ") == wantedUserState {
				return phases.Done("user and folders are there"), nil
			}
			return phases.Need(migrate.Before{"state": strings.TrimSpace(out)}, "the user etcd or its folders are missing"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: makeUser}); err != nil {
				return fmt.Errorf("making the user etcd on %s: %w", h.Target(), err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: userState})
			if err != nil {
				return err
			}
			if strings.Join(strings.Fields(out), " ") != wantedUserState {
				return errors.New("the user etcd or its folders are not as they should be: " + strings.Join(strings.Fields(out), " "))
			}
			return nil
		},
		Undo:   undoUser,
		Settle: 10 * time.Second,
	}
}

const (
	userState       = `getent group etcd >/dev/null && echo group; id -u etcd >/dev/null 2>&1 && echo user; stat -c '%n %U:%G:%a' ` + DataDir + ` ` + ConfigDir + ` ` + PKIDir + ` 2>/dev/null || true`
	wantedUserState = "group user " + DataDir + " etcd:etcd:700 " + ConfigDir + " root:etcd:750 " + PKIDir + " root:etcd:750"
	makeUser        = `set -eu
getent group etcd >/dev/null || groupadd --system etcd
id -u etcd >/dev/null 2>&1 || useradd --system --gid etcd --home-dir ` + DataDir + ` --no-create-home --shell /usr/sbin/nologin etcd
install -d -m 0700 -o etcd -g etcd ` + DataDir + `
install -d -m 0750 -o root -g etcd ` + ConfigDir + ` ` + PKIDir
)

// undoUser removes the folders that are empty by now, the user and the group,
// those of them that were not there before.
func undoUser(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if err := notRunning(ctx, h.Reader, "the user etcd"); err != nil {
		return err
	}
	was := map[string]string{}
	for line := range strings.Lines(before["state"]) {
		name, meta, _ := strings.Cut(strings.TrimSpace(line), " ")
		was[name] = meta
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, dir := range []string{PKIDir, ConfigDir, DataDir} {
		owner := strings.Split(was[dir], ":")
		if len(owner) != 3 {
			fmt.Fprintf(&script, "[ ! -d %[1]s ] || rmdir %[1]s 2>/dev/null || true\n", dir)
			continue
		}
		fmt.Fprintf(&script, "[ ! -d %[1]s ] || install -d -m %[2]s -o %[3]s -g %[4]s %[1]s\n",
			dir, remote.Quote(owner[2]), remote.Quote(owner[0]), remote.Quote(owner[1]))
	}
	if _, there := was["user"]; !there {
		script.WriteString("if id -u etcd >/dev/null 2>&1; then userdel etcd; fi\n")
	}
	if _, there := was["group"]; !there {
		script.WriteString("if getent group etcd >/dev/null; then groupdel etcd; fi\n")
	}
	if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script.String()}); err != nil {
		return fmt.Errorf("removing the user etcd and its folders on %s: %w", h.Target(), err)
	}
	return nil
}
