package external

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
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

const (
	unitFile = unitDir + "/etcd.service"
	// EnvFile holds what is known only when the member is added: its
	// initial cluster.
	EnvFile = ConfigDir + "/etcd.env"
)

// unit writes the member's systemd unit. It is neither enabled nor started
// here.
func unit() phases.Step {
	return phases.Step{
		ID:    unitID,
		Title: "Write the member's systemd unit",
		Why:   "New members inherit nothing from old ones: a database above the default quota would stop the whole cluster's writes.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{userID, binaryID, certificatesID},
		ByHand: "List the running member's flags, on {{.First.Name}}:\n\n```\ntr '\\0' '\\n' < /proc/$(pgrep -x etcd)/cmdline\n```\n\n" +
			"Write " + unitFile + " on {{.Target}}, and add every flag of that list that is tuning (quota, request size, heartbeat, election, compaction, ciphers, feature gates):\n\n```\n" +
			renderUnit(memberFlags(cluster.Host{Name: "{{.Target}}", Address: "{{.Address}}"}, nil)) + "```\n\n```\nsystemctl daemon-reload\n```\n",
		Check:  checkUnit,
		Apply:  applyUnit,
		Verify: verifyUnit,
		Undo:   undoUnit,
		Settle: 10 * time.Second,
	}
}

// memberFlags are a member's flags: its own, then what it inherits of the
// running member. initial-cluster and its state come from EnvFile.
func memberFlags(h cluster.Host, running kube.Flags) []string {
	local := fmt.Sprintf("https://127.0.0.1:%d", etcdflags.EtcdClientPort)
	flags := []string{
		"--name=" + h.Name,
		"--data-dir=" + DataDir,
		"--listen-peer-urls=" + membership.PeerURL(h),
		"--initial-advertise-peer-urls=" + membership.PeerURL(h),
		"--listen-client-urls=" + local + "," + membership.ClientURL(h),
		"--advertise-client-urls=" + membership.ClientURL(h),
	}
	for _, f := range etcdflags.MemberListeners(running, h) {
		flags = append(flags, "--"+f.Name+"="+f.Value)
	}
	flags = append(flags,
		"--cert-file="+PKIDir+"/server.crt",
		"--key-file="+PKIDir+"/server.key",
		"--trusted-ca-file="+PKIDir+"/ca.crt",
		"--client-cert-auth=true",
		"--peer-cert-file="+PKIDir+"/peer.crt",
		"--peer-key-file="+PKIDir+"/peer.key",
		"--peer-trusted-ca-file="+PKIDir+"/ca.crt",
		"--peer-client-cert-auth=true",
	)
	for _, f := range etcdflags.Inherited(running, h) {
		flags = append(flags, "--"+f.Name+"="+f.Value)
	}
	return flags
}

// renderUnit follows etcd's own contrib/systemd/etcd.service.
func renderUnit(flags []string) string {
	var b strings.Builder
	b.WriteString(`[Unit]
Description=etcd member of the Kubernetes cluster (written by migrate)
Documentation=https://etcd.io/docs/
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=notify
User=etcd
EnvironmentFile=-` + EnvFile + `
ExecStart=` + Binary)
	for _, f := range flags {
		b.WriteString(" \\\n  " + quoteForSystemd(f))
	}
	b.WriteString(`
Restart=always
RestartSec=5s
TimeoutStartSec=0
LimitNOFILE=65536
`)
	// etcd locks its database into memory, and panics where it may not.
	if slices.ContainsFunc(flags, func(f string) bool { return strings.HasSuffix(f, "memory-mlock=true") }) {
		b.WriteString("LimitMEMLOCK=infinity\n")
	}
	b.WriteString(`OOMScoreAdjust=-998
IOSchedulingClass=best-effort
IOSchedulingPriority=0

[Install]
WantedBy=multi-user.target
`)
	return b.String()
}

// isOurUnit says that renderUnit made it.
func isOurUnit(text string) bool { return strings.Contains(text, "(written by migrate)") }

// quoteForSystemd keeps a word one word in ExecStart (systemd.service(5)).
func quoteForSystemd(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`).Replace(s)
	if strings.ContainsAny(s, " \t\"'\\;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}

// wantedUnit is "" when there is no old member left to inherit from.
func wantedUnit(ctx context.Context, v phases.Reader) (string, phases.OldEtcd, error) {
	old, running, err := v.OldEtcd(ctx)
	if err != nil || !running {
		return "", phases.OldEtcd{}, err
	}
	return renderUnit(memberFlags(v.Self(), old.Flags)), old, nil
}

func checkUnit(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	r := v.On(v.Target())
	f, err := r.ReadFile(ctx, unitFile)
	if ignoreMissing(err) != nil {
		return migrate.Finding{}, err
	}
	have := string(f.Data)
	want, old, err := wantedUnit(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if have != "" && (want == "" || have == want) {
		if err := verifyUnit(ctx, v); err != nil {
			return phases.Need(migrate.Before{"unit": have}, "%v", err), nil
		}
		return phases.Done("%s is as it should be", unitFile), nil
	}
	if blocked, err := unitBlocked(ctx, v, have, want); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	enabled, err := r.Look(ctx, remote.Command{Script: "systemctl is-enabled etcd.service 2>/dev/null || true", Waits: true})
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("asking systemd on %s for etcd.service: %w", v.Target(), err)
	}
	finding := phases.Need(migrate.Before{"unit": have, "enabled": strings.TrimSpace(enabled)}, "the unit is not there or differs%s", notInherited(v, old))
	finding.Changes = []migrate.Change{{Object: v.Target() + ":" + unitFile, Before: have, After: want}}
	return finding, nil
}

// unitBlocked is Blocked where the unit can't be written, or would start what
// must not be.
func unitBlocked(ctx context.Context, v phases.Reader, have, want string) (migrate.Finding, error) {
	if want == "" {
		return phases.Block("write the unit by hand, see `migrate playbook --phase 2`", "%s has no %s and the old member it would inherit from is gone", v.Target(), unitFile), nil
	}
	if blocked, err := notForced(ctx, v); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	if file := namesFile(want); file != "" {
		return phases.Block("put that file on the etcd hosts and write "+unitFile+" there by hand, see `migrate playbook --phase 2`",
			"the running member uses a file of its node: %s", file), nil
	}
	if blocked, err := foreignData(ctx, v); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	active, err := unitActive(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if active && !isOurUnit(have) {
		return phases.Block("stop it and move its data away, or name another host in spec.etcd.hosts", "%s runs an etcd of its own", v.Target()), nil
	}
	return migrate.Finding{}, nil
}

// notInherited says what of the old member's settings a new one has in another
// form, or not at all.
func notInherited(v phases.Reader, old phases.OldEtcd) string {
	var b strings.Builder
	if reached := etcdflags.ReachableListeners(old.Flags, v.First().Address); len(reached) > 0 {
		fmt.Fprintf(&b, "; who asks %s for metrics is to ask %s", strings.Join(reached, ", "), strings.Join(etcdflags.ReachableListeners(old.Flags, v.Self().Address), ", "))
	}
	var left []string
	for _, f := range etcdflags.LeftBehind(old.Flags) {
		if strings.HasPrefix(f.Name, "discovery") { // among them are a user and a password
			f.Value = "…"
		}
		left = append(left, "--"+f.Name+"="+f.Value)
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "; of %s alone, and not taken over: %s", v.First().Name, strings.Join(left, " "))
	}
	return b.String()
}

// namesFile finds an inherited flag that names a file outside the member's
// own folders (a revocation list, a key for tokens): it would not be there.
func namesFile(unit string) string {
	for line := range strings.Lines(unit) {
		flag := strings.Trim(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "\\")), `"`)
		_, value, ok := strings.Cut(flag, "=")
		if !strings.HasPrefix(flag, "--") || !ok || strings.HasPrefix(value, PKIDir) || value == DataDir {
			continue
		}
		if strings.HasPrefix(value, "/") || strings.Contains(value, "=/") {
			return flag
		}
	}
	return ""
}

// foreignData stops where the data folder holds a member's data and the host
// is no member: another cluster's data must not be joined to this one, nor
// wiped.
func foreignData(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	names, err := v.On(v.Target()).List(ctx, DataDir)
	if ignoreMissing(err) != nil {
		return migrate.Finding{}, err
	}
	found := slices.DeleteFunc(names, func(n string) bool { return !etcdflags.IsMemberData(n) })
	if len(found) == 0 {
		return migrate.Finding{}, nil
	}
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if _, ok := membership.MemberOn(members, v.Self()); ok {
		return migrate.Finding{}, nil
	}
	seen, remedy := etcdflags.ForeignData(v.Target(), found[0])
	return phases.Block(remedy, "%s", seen), nil
}

func applyUnit(ctx context.Context, h phases.Writer, before migrate.Before) error {
	host := h.On(h.Target())
	if before["unit"] != "" {
		if err := hostfiles.Backup(ctx, host, unitID, unitFile); err != nil {
			return err
		}
	}
	want, _, err := wantedUnit(ctx, h.Reader)
	if err != nil {
		return err
	}
	if want == "" {
		return errors.New("the old member, whose flags the new one inherits, has stopped")
	}
	if err := host.WriteFile(ctx, remote.File{Path: unitFile, Data: []byte(want), Mode: 0o644, Owner: "root:root"}); err != nil {
		return err
	}
	if _, err := host.Run(ctx, remote.Program("systemctl", "daemon-reload")); err != nil {
		return fmt.Errorf("loading the unit on %s: %w", h.Target(), err)
	}
	return nil
}

func verifyUnit(ctx context.Context, v phases.Reader) error {
	out, err := v.On(v.Target()).Look(ctx, remote.Program("systemctl", "show", "-p", "LoadState", "-p", "NeedDaemonReload", "etcd.service"))
	if err != nil {
		return fmt.Errorf("asking systemd on %s for the unit: %w", v.Target(), err)
	}
	if !strings.Contains(out, "LoadState=loaded") || strings.Contains(out, "NeedDaemonReload=yes") {
		return fmt.Errorf("systemd on %s has not loaded etcd.service: %s", v.Target(), remote.Excerpt(strings.Join(strings.Fields(out), " ")))
	}
	return nil
}

// undoUnit removes the unit, or writes the one of before. One that somebody
// else wrote meanwhile is left as it is.
func undoUnit(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if err := notRunning(ctx, h.Reader, unitFile); err != nil {
		return err
	}
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, unitFile)
	if ignoreMissing(err) != nil {
		return err
	}
	if isOurUnit(string(f.Data)) && string(f.Data) != before["unit"] {
		if before["unit"] == "" {
			err = host.Remove(ctx, unitFile)
		} else {
			err = host.WriteFile(ctx, remote.File{Path: unitFile, Data: []byte(before["unit"])})
		}
		if err != nil {
			return err
		}
	}
	// In any case: a run that was killed may have changed the file and no more.
	script := "set -e; systemctl daemon-reload"
	if before["enabled"] == "enabled" {
		script += "; systemctl enable --quiet etcd.service"
	}
	if _, err := host.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("loading the previous units on %s: %w", h.Target(), err)
	}
	return host.Remove(ctx, path.Join(hostfiles.BackupDir(unitID), unitFile))
}
