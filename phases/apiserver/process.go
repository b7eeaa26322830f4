package apiserver

import (
	"context"
	"fmt"
	"slices"

	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// program is the name of an API server's process.
const program = "kube-apiserver"

// Processes lists the API servers that run on a host, ready or not.
func Processes(ctx context.Context, r remote.Reader) ([]process.Running, error) {
	return process.Find(ctx, r, program)
}

// ended asks whether an API server's process is there no more.
func ended(h phases.Writer, was process.Running) func(context.Context) error {
	return func(ctx context.Context) error {
		list, err := Processes(ctx, h.On(h.Target()))
		if err == nil && slices.ContainsFunc(list, func(p process.Running) bool { return p.PID == was.PID }) {
			err = fmt.Errorf("the API server on %s that is to end still runs, as process %d", h.Target(), was.PID)
		}
		return err
	}
}
