package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hamigrate/migrate/remote"
)

// ParkedDir is where a node's static pod manifests are while a restore keeps
// the pods from running.
const ParkedDir = StateDir + "/parked"

// readParked reads a static pod manifest from its place or, while its pod is
// kept from running, from where it is parked.
func readParked(ctx context.Context, r remote.Reader, manifest string) (remote.File, error) {
	f, err := r.ReadFile(ctx, manifest)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	return r.ReadFile(ctx, path.Join(ParkedDir, path.Base(manifest)))
}

// APIServerManifest reads the API server's manifest of a control-plane node,
// also while it is parked.
func (v View) APIServerManifest(ctx context.Context, node string) (remote.File, error) {
	return readParked(ctx, v.On(node), APIServerManifest)
}

// findControlPlanes lists the first control-plane node and those of the
// joining ones that have an API server, by their files: there may be no API
// to ask.
func (w *World) findControlPlanes(ctx context.Context) ([]string, error) {
	found := []string{w.spec.ControlPlane.First.Name}
	script := fmt.Sprintf("[ -e %s ] || [ -e %s/kube-apiserver.yaml ] && echo yes || true", APIServerManifest, ParkedDir)
	for _, h := range w.spec.ControlPlane.Joining {
		out, err := w.View(h.Name).On(h.Name).Look(ctx, remote.Command{Script: script})
		if err != nil {
			return nil, fmt.Errorf("asking %s whether it has an API server: %w", h.Name, err)
		}
		if strings.TrimSpace(out) == "yes" {
			found = append(found, h.Name)
		}
	}
	return found, nil
}
