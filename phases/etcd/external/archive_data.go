package external

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

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
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
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
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			if err := oldPodGone(ctx, h.Reader); err != nil {
				return err
			}
			return putDataAway(ctx, h)
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
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

// oldDataDir is the folder on the node that has etcd's data: where the manifest
// mounts it from, which need not be the path that --data-dir names inside.
func oldDataDir(ctx context.Context, v phases.Reader) (string, error) {
	m, err := v.OldEtcdManifest(ctx)
	if err != nil {
		return "", err
	}
	return phases.EtcdDataOnHost(m)
}

// hasOldData says whether a member's data is in the old member's folder.
func hasOldData(ctx context.Context, v phases.Reader) (bool, error) {
	dir, err := oldDataDir(ctx, v)
	if err != nil {
		return false, err
	}
	_, err = v.On(v.First().Name).List(ctx, path.Join(dir, "member"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func makeArchive(ctx context.Context, host remote.Host) error {
	if _, err := host.Run(ctx, remote.Cmd("install", "-d", "-m", "0700", hostfiles.StateDir, path.Dir(phases.EtcdArchive), phases.EtcdArchive)); err != nil {
		return fmt.Errorf("making the archive on %s: %w", host.Name(), err)
	}
	return nil
}

// putDataAway moves the data beside what was moved there before: each time
// the phase is undone and done again there is one more.
func putDataAway(ctx context.Context, h phases.Writer) error {
	data, err := hasOldData(ctx, h.Reader)
	if err != nil || !data {
		return err
	}
	dir, err := oldDataDir(ctx, h.Reader)
	if err != nil {
		return err
	}
	host := h.On(h.First().Name)
	if err := makeArchive(ctx, host); err != nil {
		return err
	}
	archive, err := dataArchive(ctx, h.Reader, dir)
	if err != nil {
		return err
	}
	if archive != phases.EtcdArchive {
		if _, err := host.Run(ctx, remote.Cmd("install", "-d", "-m", "0700", archive)); err != nil {
			return fmt.Errorf("making %s on %s: %w", archive, host.Name(), err)
		}
	}
	names, err := host.List(ctx, archive)
	if err != nil {
		return err
	}
	free := "member"
	for n := 2; slices.Contains(names, free); n++ {
		free = fmt.Sprintf("member-%d", n)
	}
	return host.Rename(ctx, path.Join(dir, "member"), path.Join(archive, free))
}

// archiveOnDisk is the archive's name in a data folder on a disk of its own.
const archiveOnDisk = "migrate-archive"

// dataArchive is where the old member's data goes: beside its manifest, or,
// from a disk of its own, to another name in the data folder, where etcd does
// not look for it. Data is moved by a rename: to copy gigabytes to another disk
// takes minutes, and may fill that one.
func dataArchive(ctx context.Context, v phases.Reader, dir string) (string, error) {
	same, err := hostfiles.SameDisk(ctx, v.On(v.First().Name), dir, hostfiles.StateDir)
	if err != nil || same {
		return phases.EtcdArchive, err
	}
	return path.Join(dir, archiveOnDisk), nil
}

// undoArchiveData has nothing to do where the data was not moved yet. It is
// that of the removed member, and is moved when that joins again.
func undoArchiveData(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	data, err := hasOldData(ctx, h.Reader)
	if err != nil {
		return err
	}
	if data {
		if listed, err := oldListed(ctx, h.Reader); err != nil || !listed {
			return err
		}
	}
	return rejoin(ctx, h, learns)
}
