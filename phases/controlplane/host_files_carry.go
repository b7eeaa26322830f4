package controlplane

import (
	"context"
	"fmt"
	"path"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// bring carries one of them, with the folders above it.
func (t target) bring(ctx context.Context, h phases.Writer, i item) error {
	for _, dir := range t.missingAbove(i.path) {
		if err := makeFolder(ctx, h, dir); err != nil {
			return err
		}
		t.have[dir] = remote.Standing{Kind: remote.FolderPath}
	}
	if err := carry(ctx, h, i, t.have[i.path]); err != nil {
		return err
	}
	t.have[i.path] = i.Standing
	return nil
}

// bringBack makes what a reset has removed. What keeps a host from joining does
// not keep it from being as it was: only what is not there is written, and
// nothing through a link that the first node has not.
func bringBack(ctx context.Context, h phases.Writer) error {
	t, err := lookTarget(ctx, h.Reader)
	if err != nil {
		return err
	}
	for _, i := range t.items {
		if t.have[i.path].Kind != remote.AbsentPath || t.behindLink(i.path) {
			continue
		}
		if err := t.bring(ctx, h, i); err != nil {
			return err
		}
	}
	return nil
}

// carry makes one of them what it is on the first node. What stood there is in
// the pre-image, or saved here. A link goes before a file is written: the file
// would go to where it leads.
func carry(ctx context.Context, h phases.Writer, i item, have remote.Standing) error {
	host := h.On(h.Target())
	if have.Kind == remote.FilePath {
		if err := hostfiles.Backup(ctx, host, hostFilesID, i.path); err != nil {
			return err
		}
	}
	switch i.Kind {
	case remote.FolderPath:
		return makeFolder(ctx, h, i.path)
	case remote.LinkPath:
		return makeLink(ctx, host, i.path, i.Link)
	}
	if have.Kind == remote.LinkPath {
		if err := host.Remove(ctx, i.path); err != nil {
			return err
		}
	}
	if i.log { // it begins empty
		return host.WriteFile(ctx, remote.File{Path: i.path, Mode: i.Mode, Owner: i.Owner})
	}
	return host.Copy(ctx, h.On(h.First().Name), i.path, remote.File{Path: i.path, Mode: i.Mode, Owner: i.Owner})
}

// makeLink makes a symbolic link, in place of what is there.
func makeLink(ctx context.Context, host remote.Host, p, to string) error {
	part := path.Join(path.Dir(p), "."+path.Base(p)+".migrate-link")
	script := fmt.Sprintf("set -eu; rm -f %[1]s; ln -s %[2]s %[1]s; mv -fT %[1]s %[3]s", remote.Quote(part), remote.Quote(to), remote.Quote(p))
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making the symbolic link %s on %s: %w", p, host.Name(), err)
	}
	return nil
}

// makeFolder makes it with the mode and owner it has on the first node.
func makeFolder(ctx context.Context, h phases.Writer, dir string) error {
	out, err := h.On(h.First().Name).Look(ctx, remote.Cmd("stat", "-c", "%a %u %g", dir))
	if err != nil {
		return err
	}
	var mode, uid, gid string
	if _, err := fmt.Sscan(out, &mode, &uid, &gid); err != nil {
		return fmt.Errorf("reading the mode of %s: %w", dir, err)
	}
	if _, err := h.On(h.Target()).Run(ctx, remote.Cmd("install", "-d", "-m", mode, "-o", uid, "-g", gid, dir)); err != nil {
		return fmt.Errorf("making %s on %s: %w", dir, h.Target(), err)
	}
	return nil
}
