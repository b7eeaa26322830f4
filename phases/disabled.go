package phases

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
)

// DisabledDir is where a node's static pod manifests are while a restore keeps
// the pods from running.
const DisabledDir = hostfiles.StateDir + "/parked"

// readManifest reads a static pod manifest from its place or, while its pod is
// kept from running, from where the restore has moved it.
func readManifest(ctx context.Context, r remote.Reader, manifest string) (remote.File, error) {
	f, err := r.ReadFile(ctx, manifest)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	return r.ReadFile(ctx, path.Join(DisabledDir, path.Base(manifest)))
}

// APIServerManifest reads the API server's manifest of a control-plane node,
// also while it is disabled.
func (v Reader) APIServerManifest(ctx context.Context, node string) (remote.File, error) {
	return readManifest(ctx, v.On(node), APIServerManifest)
}
