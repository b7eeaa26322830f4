package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// The keys of the pre-image: files and links that were not there, logs that were
// not there, files that were others, links that were there, mounted folders that
// were not there, and folders above all these that were not there.
const (
	keyMissing = "missing"
	keyLogs    = "logs"
	keyLinks   = "links"
	keyOthers  = "others"
	keyFolders = "folders"
	keyAbove   = "above"
)

// linkArrow stands between a link and where it led.
const linkArrow = " -> "

// hostFilesBefore lists what the step will make and what it will replace.
func hostFilesBefore(t target, first string) migrate.Before {
	lists := map[string][]string{}
	for _, i := range t.items {
		if t.fault(i, first) == "" {
			continue
		}
		lists[keyAbove] = append(lists[keyAbove], t.missingAbove(i.path)...)
		switch have := t.have[i.path]; {
		case have.Kind == remote.LinkPath:
			lists[keyLinks] = append(lists[keyLinks], i.path+linkArrow+have.Link)
		case have.Kind != remote.AbsentPath:
			lists[keyOthers] = append(lists[keyOthers], i.path)
		case i.Kind == remote.FolderPath:
			lists[keyFolders] = append(lists[keyFolders], i.path)
		case i.log:
			lists[keyLogs] = append(lists[keyLogs], i.path)
		default:
			lists[keyMissing] = append(lists[keyMissing], i.path)
		}
	}
	before := migrate.Before{}
	for key, list := range lists {
		slices.Sort(list)
		before[key] = strings.Join(slices.Compact(list), "\n")
	}
	return before
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// undoHostFiles removes what was not there, restores what was another file,
// and removes the folders that were made. What a pod has written into one of
// those meanwhile, a log, is nobody's to delete: such a folder is moved aside.
func undoHostFiles(ctx context.Context, h phases.Hands, before migrate.Before) error {
	host := h.On(h.Target())
	if joined, err := there(ctx, host, phases.APIServerManifest); err != nil || joined {
		return errors.Join(err, fmt.Errorf("the API server of %s mounts these files: undo %s first", h.Target(), joinID))
	}
	for _, f := range lines(before[keyMissing]) {
		if err := host.Remove(ctx, f); err != nil {
			return err
		}
	}
	for _, f := range lines(before[keyLogs]) {
		if err := removeLog(ctx, host, f); err != nil {
			return err
		}
	}
	for _, l := range lines(before[keyLinks]) {
		file, to, _ := strings.Cut(l, linkArrow)
		if err := putLinkBack(ctx, host, file, to); err != nil {
			return err
		}
	}
	for _, f := range lines(before[keyOthers]) {
		if err := putBack(ctx, host, f); err != nil {
			return err
		}
	}
	for _, key := range []string{keyFolders, keyAbove} {
		folders := lines(before[key])
		slices.SortFunc(folders, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the inner ones first
		for _, dir := range folders {
			if err := removeFolder(ctx, host, dir, key == keyFolders); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack restores a file from the step's copy; without a copy it was never
// replaced.
func putBack(ctx context.Context, host remote.Host, file string) error {
	saved, err := host.ReadFile(ctx, path.Join(phases.BackupDir(hostFilesID), file))
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
const leftovers = phases.StateDir + "/archive/host-files"

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
