package phases

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"

	"k8s.io/apimachinery/pkg/util/wait"
)

// oneTry bounds one question, so that a lost packet does not eat the wait.
const oneTry = 20 * time.Second

// Await asks once a second until so returns nil, for at most limit. Time that
// is over is an error with the last answer, and so is an answer that no waiting
// mends (migrate.Hopeless), at once. The wait is counted as one for others'
// programs.
func Await(ctx context.Context, v Reader, limit time.Duration, so func(context.Context) error) error {
	return await(ctx, v, nil, limit, so)
}

// AwaitOrStop is Await for a wait that a run which is asked to stop may end
// (migrate.ErrStopped): what was changed before it does no harm as it is, and
// whoever comes next begins by looking. It is for waits for a person, and for
// those at the very end of an Apply or Undo.
func AwaitOrStop(ctx context.Context, v Reader, limit time.Duration, so func(context.Context) error) error {
	return await(ctx, v, v.Access().stopping(), limit, so)
}

func await(ctx context.Context, v Reader, stop <-chan struct{}, limit time.Duration, so func(context.Context) error) error {
	defer v.Access().Waiting()()
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(migrate.ErrStopped)
		case <-asking.Done():
		}
	}()
	var last error
	err := wait.PollUntilContextTimeout(asking, time.Second, limit, true, func(polling context.Context) (bool, error) {
		try, cancel := context.WithTimeout(polling, oneTry)
		defer cancel()
		answer := so(try)
		if answer == nil {
			return true, nil
		}
		if polling.Err() != nil && last != nil {
			return false, nil // what a try that was cut off says is worth less
		}
		last = answer
		if migrate.IsHopeless(last) {
			return false, last
		}
		if polling.Err() == nil {
			v.Access().StillWaits(last)
		}
		return false, nil
	})
	switch {
	case err == nil:
		return nil
	case asking.Err() != nil:
		return context.Cause(asking)
	case migrate.IsHopeless(err):
		return err
	}
	return fmt.Errorf("timed out after %s; last error: %w", limit, last)
}
