package run

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
)

// startingLimit bounds the wait for an API server that starts: after a power
// cut of its node it was seen to be ready in 12 and 18 s, on two processors, and
// to answer 403 on the way before it had read its roles.
const startingLimit = time.Minute

// awaitAPI gives the API server of the first control-plane node the time to
// start: people begin again right after the node is back. One that does not get
// ready is left to who asks it next, whose error says what is wrong with it.
func awaitAPI(ctx context.Context, s *Session, stop <-chan struct{}, tell func(string)) error {
	first := s.Spec.ControlPlane.First.Name
	cfg, err := s.Access.Reader(first).AdminConfigOn(ctx, first)
	if err != nil {
		return err // the host is not reached, or is no control-plane node
	}
	return awaitReady(ctx, stop, startingLimit, func(ctx context.Context) error { return kube.Readyz(ctx, cfg) },
		func(err error) {
			tell(fmt.Sprintf("the API server of %s is not ready; waiting for at most %.0f s: %v", first, startingLimit.Seconds(), err))
		})
}

// awaitReady asks until the answer is nil, for at most limit, and tells once
// that it waits. The error is that it was stopped.
func awaitReady(ctx context.Context, stop <-chan struct{}, limit time.Duration, ask func(context.Context) error, tell func(error)) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(migrate.ErrStopped)
		case <-asking.Done():
		}
	}()
	told := false
	_ = wait.PollUntilContextTimeout(asking, time.Second, limit, true, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if err != nil && !told && asking.Err() == nil {
			told = true
			tell(err)
		}
		return err == nil, nil
	})
	return context.Cause(asking)
}
