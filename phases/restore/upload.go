package restore

import (
	"context"
	"fmt"
	"path"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

func (o Options) upload() phases.Step {
	return phases.Step{
		ID:    uploadID,
		Title: "Copy the snapshot and this program to the host",
		Why:   "All members are made from one snapshot, by etcd's own code that is built into this program.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{setAsideID},
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			if restored, err := o.marked(ctx, v, v.Target(), restoredMark); err != nil || restored {
				return phases.Done("the data is restored already"), err
			}
			if err := o.uploaded(ctx, v); err != nil {
				return phases.Need(migrate.Before{}, "%v", err), nil
			}
			return phases.Done("both are there, with the right checksums"), nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			host := h.On(h.Target())
			script := fmt.Sprintf("install -d -m 0700 %[1]s %[1]s/restore %[2]s", hostfiles.StateDir, o.dir())
			if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
				return fmt.Errorf("making %s on %s: %w", o.dir(), h.Target(), err)
			}
			if err := host.Copy(ctx, o.Snapshot.From, o.Snapshot.Path, remote.File{Path: o.snapshotFile(), Mode: 0o600, Owner: "root:root"}); err != nil {
				return err
			}
			return host.Copy(ctx, o.Program.From, o.Program.Path, remote.File{Path: o.programFile(), Mode: 0o700, Owner: "root:root"})
		},
		Verify: o.uploaded,
		OneWay: oneWay,
		Settle: time.Minute,
	}
}

func (o Options) snapshotFile() string { return o.mark("etcd.db") }

func (o Options) programFile() string { return o.mark("migrate") }

func (o Options) uploaded(ctx context.Context, v phases.Reader) error {
	for file, want := range map[string]string{o.snapshotFile(): o.Snapshot.SHA256, o.programFile(): o.Program.SHA256} {
		sum, err := v.Digest(ctx, v.Target(), file)
		if err != nil {
			return err
		}
		if sum != want || want == "" {
			return fmt.Errorf("%s is not on %s yet", path.Base(file), v.Target())
		}
	}
	return nil
}
