package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/phases"
)

// The way back is the way there, backward: those who follow the endpoint
// first, then what names it, the load balancer last. The old address answers
// all the time, so a client that is sent back to it finds it there. What
// somebody else has changed since is left as it is.

// recorded is a value of the pre-image; one that is missing is a sentence.
func recorded(before migrate.Before, key, what string) (string, error) {
	if before[key] == "" {
		return "", fmt.Errorf("the journal does not say what %s was before: set it back by hand, and run again", what)
	}
	return before[key], nil
}

// serversBack gives kubeconfig files on the target the server of before, where
// they name the endpoint, and says whether there was one to change. A file
// without a pre-image, as on a worker that joined later, gets the first API
// server's own address: the endpoint will not answer for ever. One that named the
// endpoint before stays as it is, see nameBack.
func serversBack(ctx context.Context, h phases.Writer, files []string, before migrate.Before) (changed bool, err error) {
	host := h.On(h.Target())
	first, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return false, err
	}
	for _, file := range files {
		server, err := hostfiles.KubeconfigServer(ctx, host, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return changed, err
		}
		if server != h.EndpointURL() {
			continue
		}
		old := before[file]
		if followedBefore(h.Reader, old) {
			continue
		}
		if old == "" || old == h.EndpointURL() {
			old = "https://" + first
		}
		if err := hostfiles.SetKubeconfigServer(ctx, host, file, old); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}
