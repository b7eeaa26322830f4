package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// ignoreMissing is for files that may be gone: the attempt before took them.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hostOf finds an etcd host by its name.
func hostOf(v phases.View, name string) cluster.Host {
	i := slices.IndexFunc(v.Spec().Etcd.Hosts, func(h cluster.Host) bool { return h.Name == name })
	if i < 0 {
		return cluster.Host{Name: name}
	}
	return v.Spec().Etcd.Hosts[i]
}

// fileBack brings a file back to what it was: gone, or a step's copy of it.
// The copy is on the same host, and may be large or hold a key: it passes
// through nothing else. Without a copy it is back already.
func fileBack(ctx context.Context, h remote.Host, id migrate.StepID, file string, was bool) error {
	kept := path.Join(phases.BackupDir(id), file)
	script := "rm -f " + remote.Quote(file)
	if was {
		script = fmt.Sprintf("set -eu; [ ! -e %[1]s ] || { cp -p %[1]s %[2]s; sync %[2]s; mv %[2]s %[3]s; rm -f %[1]s; }",
			remote.Quote(kept), remote.Quote(path.Join(path.Dir(file), "."+path.Base(file)+".migrate-back")), remote.Quote(file))
	}
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("bringing %s on %s back to what it was: %w", file, h.Name(), err)
	}
	return nil
}

// notRunning refuses to take away what a running member needs.
func notRunning(ctx context.Context, v phases.View, what string) error {
	state, err := unitState(ctx, v)
	if err == nil && slices.Contains([]string{"active", "activating", "reloading"}, state) {
		err = fmt.Errorf("%s on %s stays: etcd.service there is %s; take its member away first", what, v.Target(), state)
	}
	return err
}

// undoUnit removes the unit, or writes the one of before. One that somebody
// else wrote meanwhile is left as it is.
func undoUnit(ctx context.Context, h phases.Hands, before migrate.Before) error {
	if err := notRunning(ctx, h.View, unitFile); err != nil {
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
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("loading the units of before on %s: %w", h.Target(), err)
	}
	return host.Remove(ctx, path.Join(phases.BackupDir(unitID), unitFile))
}

// undoCertificates takes the member's keys and certificates off its host, and
// what an attempt that was cut has left where they are signed. The CA's key
// was never here.
func undoCertificates(ctx context.Context, h phases.Hands, before migrate.Before) error {
	if err := notRunning(ctx, h.View, PKIDir); err != nil {
		return err
	}
	first := h.On(h.First().Name)
	scratch := path.Join(phases.StateDir, signingDir(h.Target()))
	if _, err := first.Run(ctx, remote.Cmd("rm", "-rf", scratch)); err != nil {
		return fmt.Errorf("removing the scratch folder on %s: %w", first.Name(), err)
	}
	was := strings.Split(before["files"], ",")
	for _, name := range certificateFiles {
		if err := fileBack(ctx, h.On(h.Target()), certificatesID, path.Join(PKIDir, name), slices.Contains(was, name)); err != nil {
			return err
		}
	}
	return nil
}

// undoBinary removes etcd and etcdctl, or brings back those of before. What
// somebody has put in their place since is left.
func undoBinary(ctx context.Context, h phases.Hands, before migrate.Before) error {
	if err := notRunning(ctx, h.View, Binary); err != nil {
		return err
	}
	have, err := programsAt(ctx, h.View, h.Target(), Binary)
	if err != nil {
		return err
	}
	want, err := wantedPrograms(ctx, h.View)
	if err != nil {
		return err
	}
	for _, p := range []struct{ file, have, want, before string }{
		{Binary, have.etcd, want.etcd, before["sha256"]},
		{Binary + "ctl", have.ctl, want.ctl, before["etcdctl"]},
	} {
		ours := p.have != "" && p.have != p.before && (p.want == "" || p.have == p.want)
		if !ours {
			continue
		}
		if err := fileBack(ctx, h.On(h.Target()), binaryID, p.file, p.before != "" && p.before != absent); err != nil {
			return err
		}
	}
	return nil
}

// undoUser removes the folders that are empty by now, the user and the group,
// those of them that were not there before.
func undoUser(ctx context.Context, h phases.Hands, before migrate.Before) error {
	if err := notRunning(ctx, h.View, "the user etcd"); err != nil {
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
