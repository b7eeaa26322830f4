// Package hostfiles reads, compares and keeps files of a host: the folder that this
// program has there (StateDir), the copies of what a step changes, kubeconfigs, and
// questions whose answer is a yes or a no (Confirms).
package hostfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// BackupDir is where a step keeps the files it changes as they were.
func BackupDir(id migrate.StepID) string {
	return path.Join(StateDir, "backup", strings.ReplaceAll(string(id), "/", "-"))
}

// Backup copies files of a host to the step's backup folder on that host,
// each under its own path, mode and owner kept. A copy that is there already is of before the first
// attempt and stays. Secrets therefore never leave the host they live on.
func Backup(ctx context.Context, h remote.Host, id migrate.StepID, files ...string) error {
	dir := BackupDir(id)
	var script strings.Builder
	fmt.Fprintf(&script, "set -eu; umask 077; mkdir -p %s\n", remote.Quote(dir))
	for _, f := range files {
		to := path.Join(dir, f)
		fmt.Fprintf(&script, "[ -e %[2]s ] || { mkdir -p %[3]s; cp -p %[1]s %[2]s.part; sync %[2]s.part; mv %[2]s.part %[2]s; }\n",
			remote.Quote(f), remote.Quote(to), remote.Quote(path.Dir(to)))
	}
	if _, err := h.Run(ctx, remote.Command{Script: script.String()}); err != nil {
		return fmt.Errorf("saving %s as they were: %w", strings.Join(files, ", "), err)
	}
	return nil
}

// MakeStateDir makes StateDir on a host, for root alone: WriteFile would make
// a missing folder readable by everybody.
func MakeStateDir(ctx context.Context, h remote.Host) error {
	if _, err := h.Run(ctx, remote.Cmd("install", "-d", "-m", "0700", StateDir)); err != nil {
		return fmt.Errorf("making %s on %s: %w", StateDir, h.Name(), err)
	}
	return nil
}

// ReadFiles reads files of a host side by side and returns them in the order
// of their paths, with the error of the first that has one.
func ReadFiles(ctx context.Context, r remote.Reader, paths ...string) ([]remote.File, error) {
	files := make([]remote.File, len(paths))
	err := parallel.Each(paths, func(i int, path string) (err error) {
		files[i], err = r.ReadFile(ctx, path)
		return err
	})
	return files, err
}

// KubeconfigServer reads the server of a kubeconfig file on a host. A file
// that is not there is fs.ErrNotExist.
func KubeconfigServer(ctx context.Context, r remote.Reader, file string) (string, error) {
	f, err := r.ReadFile(ctx, file)
	if err != nil {
		return "", err
	}
	server, err := kube.Server(f.Data)
	if err != nil {
		return "", fmt.Errorf("on %s, %s: %w", r.Name(), file, err)
	}
	return server, nil
}

// SetKubeconfigServer changes only the server of a kubeconfig file on a host.
// A file that is not there is left so.
func SetKubeconfigServer(ctx context.Context, h remote.Host, file, url string) error {
	f, err := h.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	changed, err := kube.SetServer(f.Data, url)
	if err != nil {
		return fmt.Errorf("on %s, %s: %w", h.Name(), file, err)
	}
	f.Data = changed
	return h.WriteFile(ctx, f)
}
