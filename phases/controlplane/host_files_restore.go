package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
)

// putBack restores a file from the step's copy; without a copy it was never
// replaced.
func putBack(ctx context.Context, host remote.Host, file string) error {
	saved, err := host.ReadFile(ctx, path.Join(hostfiles.BackupDir(hostFilesID), file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	saved.Path = file
	if err := unlink(ctx, host, file); err != nil {
		return err
	}
	now, err := host.ReadFile(ctx, file)
	if err == nil && string(now.Data) == string(saved.Data) && now.Mode == saved.Mode && now.Owner == saved.Owner {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return host.WriteFile(ctx, saved)
}

// unlink removes a symbolic link that the step put in a file's place: what is
// written to it would go to where it leads.
func unlink(ctx context.Context, host remote.Host, file string) error {
	stands, err := remote.LookAt(ctx, host, []string{file})
	if err != nil || stands[file].Kind != remote.LinkPath {
		return err
	}
	return host.Remove(ctx, file)
}

// putLinkBack makes a link again that the step has replaced.
func putLinkBack(ctx context.Context, host remote.Host, file, to string) error {
	stands, err := remote.LookAt(ctx, host, []string{file})
	if err != nil || stands[file].Kind == remote.LinkPath && stands[file].Link == to {
		return err
	}
	return makeLink(ctx, host, file, to)
}

// leftovers is where folders with something in them go.
const leftovers = hostfiles.StateDir + "/archive/host-files"

// removeFolder removes an empty folder. One with something in it is moved
// aside where the step made it for the API server, and else is somebody's now.
func removeFolder(ctx context.Context, host remote.Host, dir string, ours bool) error {
	names, err := host.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if _, err := host.Run(ctx, remote.Cmd("rmdir", dir)); err != nil {
			return fmt.Errorf("removing %s on %s: %w", dir, host.Name(), err)
		}
		return nil
	}
	if !ours {
		return nil
	}
	return moveAside(ctx, host, dir)
}

// removeLog removes a log that nobody has written, and moves another one aside.
func removeLog(ctx context.Context, host remote.Host, file string) error {
	stands, err := remote.LookAt(ctx, host, []string{file})
	if err != nil || stands[file].Kind != remote.FilePath {
		return err
	}
	if stands[file].Size == 0 {
		return host.Remove(ctx, file)
	}
	return moveAside(ctx, host, file)
}

// moveAside moves a file or folder to where it is kept.
func moveAside(ctx context.Context, host remote.Host, p string) error {
	if _, err := host.Run(ctx, remote.Cmd("install", "-d", "-m", "0700", path.Join(leftovers, path.Dir(p)))); err != nil {
		return fmt.Errorf("making %s on %s: %w", leftovers, host.Name(), err)
	}
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.%d", path.Join(leftovers, p), n)
		if err := host.Rename(ctx, p, to); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}
