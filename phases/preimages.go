package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
)

// trailDir on the first control-plane node holds the copies of the
// pre-images, one file a step and target. That node is the one that every
// phase needs, and the one whose loss the migration is there to survive: then
// the journal is what is left.
const preImageDir = hostfiles.StateDir + "/trail"

// preImageStore remembers that the folder is there.
type preImageStore struct {
	mu   sync.Mutex
	made bool
}

var _ migrate.PreImageStore = (*Access)(nil)

func preImageFile(phase int, step migrate.StepID, target string) string {
	return path.Join(preImageDir, fmt.Sprintf("%d.%s@%s.json", phase, strings.ReplaceAll(string(step), "/", "."), target))
}

// Keep implements migrate.PreImageStore.
func (w *Access) Keep(ctx context.Context, t migrate.PreImage) error {
	host := w.Writer(t.Target).On(w.spec.ControlPlane.First.Name)
	w.preImages.mu.Lock()
	made := w.preImages.made
	w.preImages.mu.Unlock()
	if !made {
		if _, err := host.Run(ctx, remote.Cmd("install", "-d", "-m", "0700", hostfiles.StateDir, preImageDir)); err != nil {
			return fmt.Errorf("making %s on %s: %w", preImageDir, host.Name(), err)
		}
		w.preImages.mu.Lock()
		w.preImages.made = true
		w.preImages.mu.Unlock()
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("keeping what was there before %s: %w", t.Step, err)
	}
	f := remote.File{Path: preImageFile(t.Phase, t.Step, t.Target), Data: append(data, '\n'), Mode: 0o600, Owner: "root:root"}
	if err := host.WriteFile(ctx, f); err != nil {
		return fmt.Errorf("keeping what was there before %s: %w", t.Step, err)
	}
	return nil
}

// Drop implements migrate.PreImageStore.
func (w *Access) Drop(ctx context.Context, phase int, step migrate.StepID, target string) error {
	return w.Writer(target).On(w.spec.ControlPlane.First.Name).Remove(ctx, preImageFile(phase, step, target))
}

// PreImages implements migrate.PreImageStore.
func (w *Access) PreImages(ctx context.Context) ([]migrate.PreImage, error) {
	host := w.Reader(migrate.ClusterTarget).On(w.spec.ControlPlane.First.Name)
	names, err := host.List(ctx, preImageDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, n := range names {
		if strings.HasSuffix(n, ".json") {
			paths = append(paths, path.Join(preImageDir, n))
		}
	}
	files, err := hostfiles.ReadFiles(ctx, host, paths...)
	if err != nil {
		return nil, err
	}
	traces := make([]migrate.PreImage, len(files))
	for i, f := range files {
		if err := json.Unmarshal(f.Data, &traces[i]); err != nil {
			return nil, fmt.Errorf("on %s, reading %s (move it away, and what it holds is not known): %w", host.Name(), f.Path, err)
		}
	}
	return traces, nil
}

// Ours says whether a step has left copies of files on its host, which only a
// step does that was about to change them; "" for no. It is what is left to
// know where a step has no trace.
func (w *Access) Ours(ctx context.Context, step migrate.StepID, target string) (string, error) {
	name := target
	if target == migrate.ClusterTarget {
		name = w.spec.ControlPlane.First.Name
	}
	dir := hostfiles.BackupDir(step)
	out, err := w.Reader(target).On(name).Look(ctx, remote.Command{Script: "if [ -d " + remote.Quote(dir) + " ]; then echo yes; fi"})
	if err != nil || strings.TrimSpace(out) != "yes" {
		return "", err
	}
	return fmt.Sprintf("%s has copies of the files in %s, and %s has no record of the rest", name, dir, w.spec.ControlPlane.First.Name), nil
}
