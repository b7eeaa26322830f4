package phases

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// oneTry bounds one question, so that a lost packet does not eat the wait.
const oneTry = 20 * time.Second

// Await asks once a second until so returns nil, for at most limit. Time that
// is over is an error with the last answer. The wait is counted as one for
// others' programs.
func Await(ctx context.Context, v View, limit time.Duration, so func(context.Context) error) error {
	defer v.World().Waiting()()
	var last error
	err := wait.PollUntilContextTimeout(ctx, time.Second, limit, true, func(polling context.Context) (bool, error) {
		try, cancel := context.WithTimeout(polling, oneTry)
		defer cancel()
		if last = so(try); last != nil && polling.Err() == nil {
			v.World().StillWaits(last)
		}
		return last == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("still not so after %s: %w", limit, last)
}
