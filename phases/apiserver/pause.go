package apiserver

import (
	"context"
	"errors"
	"fmt"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	// pauseUnit is the timer that lets a paused API server go on, should nobody
	// else do it.
	pauseUnit = "migrate-apiserver-release"
	// pauseSeconds is how long an API server can be paused at most: less than
	// what clients wait for an answer, and than its leases last.
	pauseSeconds = 1
)

// Pause makes the API server of a control-plane node stand still
// (SIGSTOP) until release is called, at most for a second: a timer on the node
// lets it go on by itself. Its clients' requests wait meanwhile; none fails.
//
// It is for the moment in which etcd's leader moves: a leader that is about to
// hand over drops what is proposed to it (etcd-io/raft, stepLeader:
// ErrProposalDropped), and the API server passes that on as status 500.
func Pause(ctx context.Context, h phases.Writer, node string) (release func(context.Context) error, err error) {
	p, running, err := h.APIServer(ctx, node)
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, fmt.Errorf("holding the API server on %s: none runs", node)
	}
	host := h.On(node)
	forget := "systemctl stop " + pauseUnit + ".timer 2>/dev/null || true"
	script := fmt.Sprintf("set -e; %[1]s; systemd-run --quiet --collect --unit=%[2]s --on-active=%[3]d --timer-property=AccuracySec=50ms /bin/sh -c 'kill -CONT %[4]d'; kill -STOP %[4]d",
		forget, pauseUnit, pauseSeconds, p.PID)
	release = func(ctx context.Context) error {
		if _, err := host.Run(ctx, remote.Command{Script: fmt.Sprintf("kill -CONT %d; %s", p.PID, forget), Waits: true}); err != nil {
			return fmt.Errorf("letting the API server on %s go on (a timer does in %d s): %w", node, pauseSeconds, err)
		}
		return nil
	}
	if _, err := host.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return nil, errors.Join(fmt.Errorf("holding the API server on %s: %w", node, err), release(context.WithoutCancel(ctx)))
	}
	return release, nil
}
