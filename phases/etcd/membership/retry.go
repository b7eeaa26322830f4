package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"k8s.io/apimachinery/pkg/util/wait"

	"hamigrate/phases"
)

// notYet are etcd's refusals that time alone mends: a membership change
// wants every voter connected for 5 s (etcd: server.go, mayAddMember with
// HealthInterval), a promotion a learner that is in sync.
var notYet = []error{
	rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrMemberLearnerNotReady,
	rpctypes.ErrTooManyLearners, rpctypes.ErrLeaderChanged, rpctypes.ErrNoLeader,
	rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutWaitAppliedIndex,
}

// Change calls change until etcd takes it, for at most two
// minutes. change must look at the member list first: an answer that was
// lost is no reason to do a thing twice. The time between a refusal and the
// next attempt is a wait for etcd.
func Change(ctx context.Context, w *phases.Access, change func(context.Context) error) error {
	var last error
	waited := func() {}
	defer func() { waited() }()
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		waited()
		waited = func() {}
		last = change(ctx)
		if last == nil {
			return true, nil
		}
		for _, e := range notYet {
			if errors.Is(rpctypes.Error(root(last)), e) {
				waited = w.Waiting()
				w.StillWaits(last)
				return false, nil
			}
		}
		return false, last
	})
	if err != nil && last != nil && !errors.Is(err, last) {
		return fmt.Errorf("%w (%w)", last, err)
	}
	return err
}

// root unwraps to the error that etcd's client returned.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
