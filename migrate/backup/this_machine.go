package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"hamigrate/migrate/remote"
)

// ThisMachine is the machine at hand as something that files are copied from.
type ThisMachine struct{}

var (
	_ remote.Reader   = ThisMachine{}
	_ remote.Streamer = ThisMachine{}
)

// Name implements remote.Reader.
func (ThisMachine) Name() string { return "this machine" }

// ReadFile implements remote.Reader.
func (ThisMachine) ReadFile(_ context.Context, path string) (remote.File, error) {
	data, err := os.ReadFile(path)
	return remote.File{Path: path, Data: data}, err
}

// List implements remote.Reader.
func (ThisMachine) List(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e.Name()))
	}
	slices.Sort(names)
	return names, err
}

// Open implements remote.Streamer.
func (ThisMachine) Open(_ context.Context, path string) (io.ReadCloser, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

var errOnlyFiles = errors.New("only files are copied from this machine")

// Look implements remote.Reader; there is nothing to run.
func (ThisMachine) Look(context.Context, remote.Command) (string, error) { return "", errOnlyFiles }

// DialContext implements remote.Reader; there is nothing to reach.
func (ThisMachine) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, fmt.Errorf("dialing: %w", errOnlyFiles)
}
