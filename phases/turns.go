package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// turns are those of looks that would see each other's traces.
type turns struct {
	one    chan struct{} // has room for one: who looks at this moment
	mu     sync.Mutex
	askers []*asker // who wait in Together
}

// Alone waits until nobody else who asks for it is at work, for looks that would
// see each other's traces. release lets the next one in.
func (v Reader) Alone(ctx context.Context) (release func(), err error) {
	select {
	case v.access.turns.one <- struct{}{}:
		return func() { <-v.access.turns.one }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ErrNotLooked is the end of a wait for Together: nothing was looked at, which
// says nothing of what would have been found.
var ErrNotLooked = errors.New("others were looked at for all of the time, and this was not")

// errCutOff is told to those whose look ended with the time of the one who did it.
var errCutOff = errors.New("the look was cut off")

// asker waits for a look at its target.
type asker struct {
	target string
	done   chan error // has room for the one answer
}

// Together is Alone for a look that many ask for, each for its own target: one
// of them looks for all who wait by then. One after the other, a hundred would
// not come to their turn in the time that each of them has. look returns an
// error for each target, nil where all is well, or one for the whole. All who
// call it have to mean the same look.
func (v Reader) Together(ctx context.Context, look func(ctx context.Context, targets []string) (each []error, err error)) error {
	for {
		err := v.together(ctx, look)
		if !errors.Is(err, errCutOff) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", ErrNotLooked, context.Cause(ctx))
		}
	}
}

func (v Reader) together(ctx context.Context, look func(context.Context, []string) ([]error, error)) error {
	w, me := v.access, &asker{v.target, make(chan error, 1)}
	w.turns.mu.Lock()
	w.turns.askers = append(w.turns.askers, me)
	w.turns.mu.Unlock()
	select {
	case err := <-me.done:
		return err
	case w.turns.one <- struct{}{}:
		defer func() { <-w.turns.one }()
	case <-ctx.Done():
		w.forget(me)
		return errCutOff
	}
	select {
	case err := <-me.done: // by the one before, who has just gone
		return err
	default:
	}
	w.turns.mu.Lock()
	group := w.turns.askers
	w.turns.askers = nil
	w.turns.mu.Unlock()
	targets := make([]string, len(group))
	for i, a := range group {
		targets[i] = a.target
	}
	each, err := look(ctx, targets)
	for i, a := range group {
		switch {
		case ctx.Err() != nil:
			a.done <- errCutOff
		case err != nil:
			a.done <- err
		default:
			a.done <- each[i]
		}
	}
	return <-me.done
}

// forget takes one out who does not wait any more.
func (w *Access) forget(a *asker) {
	w.turns.mu.Lock()
	defer w.turns.mu.Unlock()
	w.turns.askers = slices.DeleteFunc(w.turns.askers, func(x *asker) bool { return x == a })
}
