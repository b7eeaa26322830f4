package external

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
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

// fileBack brings a file back to what it was: gone, or a step's copy of it.
// The copy is on the same host, and may be large or hold a key: it passes
// through nothing else. Without a copy it is back already.
func fileBack(ctx context.Context, h remote.Host, id migrate.StepID, file string, was bool) error {
	kept := path.Join(hostfiles.BackupDir(id), file)
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
func notRunning(ctx context.Context, v phases.Reader, what string) error {
	state, err := unitState(ctx, v)
	if err == nil && slices.Contains([]string{"active", "activating", "reloading"}, state) {
		err = fmt.Errorf("%s on %s stays: etcd.service there is %s; take its member away first", what, v.Target(), state)
	}
	return err
}
