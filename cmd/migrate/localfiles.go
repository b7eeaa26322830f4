package main

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

// localFiles is this machine as something that files are copied from.
type localFiles struct{}

var (
	_ remote.Reader   = localFiles{}
	_ remote.Streamer = localFiles{}
)

func (localFiles) Name() string { return "this machine" }

func (localFiles) ReadFile(_ context.Context, path string) (remote.File, error) {
	data, err := os.ReadFile(path)
	return remote.File{Path: path, Data: data}, err
}

func (localFiles) List(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e.Name()))
	}
	slices.Sort(names)
	return names, err
}

func (localFiles) Open(_ context.Context, path string) (io.ReadCloser, int64, error) {
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

func (localFiles) Look(context.Context, remote.Command) (string, error) { return "", errOnlyFiles }

func (localFiles) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, fmt.Errorf("dialing: %w", errOnlyFiles)
}
