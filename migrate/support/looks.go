package support

import (
	"context"
	"fmt"
	"time"
)

// inTime runs a look, and gives it up when its time is over, whether it listens or
// not: this command must end on a network that swallows everything.
func inTime[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		v, err := look(ctx)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		if a.err != nil && ctx.Err() != nil {
			a.err = fmt.Errorf("its time was over (--wait), or Ctrl-C: %w", a.err)
		}
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("its time was over (--wait), or Ctrl-C: %w", context.Cause(ctx))
	}
}

// Look is one of the things that are seen now: in which file it stands, what that is,
// and how it is seen.
type Look struct {
	File, What string
	See        func(context.Context) (any, error)
}

// AddLooks adds what is seen within a time. All is looked at at once, so that what
// waits for a host does not take the time of the others.
func (a *Archive) AddLooks(ctx context.Context, wait time.Duration, looks []Look) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	type seen struct {
		value any
		err   error
	}
	answers := make([]chan seen, len(looks))
	for i, l := range looks {
		answers[i] = make(chan seen, 1)
		go func() {
			v, err := inTime(ctx, l.See)
			answers[i] <- seen{v, err}
		}()
	}
	for i, l := range looks {
		got := <-answers[i]
		if got.err != nil {
			a.Lacks(l.File, got.err)
			continue
		}
		a.Add(l.File, l.What, got.value)
	}
}
