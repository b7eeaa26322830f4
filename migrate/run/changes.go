package run

import (
	"context"
	"errors"
	"sync"

	"hamigrate/migrate"
)

// signalled is the end that a signal brings about while nothing was changed yet.
type signalled struct{}

func (signalled) Error() string {
	return "stopped by a signal: this command has changed nothing on the cluster"
}

func (signalled) Unwrap() error { return context.Canceled }

// ErrSignalled is the cause of a context that a signal has ended.
var ErrSignalled error = signalled{}

// changes says whether a command that signals stop has changed something. It is
// in the context of the command, for whoever changes something first.
type changes struct {
	mu   sync.Mutex
	made bool
}

type changesKey struct{}

// BeginsToChange says that something is changed from now on: the first signal ends
// nothing in its middle any more.
func BeginsToChange(ctx context.Context) {
	if c, ok := ctx.Value(changesKey{}).(*changes); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made = true
	}
}

// UnlessMade calls end where nothing was changed, and says whether it has.
func (c *changes) UnlessMade(end func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made {
		end()
	}
	return !c.made
}

// ChangingWith is a listener for whom a run begins to change something with its
// first step that is not only looked at.
func ChangingWith(ctx context.Context) ListenerFunc {
	return func(e migrate.Event) {
		if e.Kind == migrate.EventStepStarted || e.Kind == migrate.EventStepUndoing {
			BeginsToChange(ctx)
		}
	}
}

// InOwnWords is the error of a command that a signal has ended before it changed
// something: whatever look was given up then is of no interest.
//
// A step whose beginning was written down just before is another matter: its error
// stays, and says what is known.
func InOwnWords(ctx context.Context, err error) error {
	var interrupted *migrate.InterruptedError
	if errors.As(err, &interrupted) && interrupted.Status.Unfinished() {
		return err
	}
	if err != nil && errors.Is(context.Cause(ctx), ErrSignalled) {
		return ErrSignalled
	}
	return err
}

// Unasked is the key of a context in which nobody is asked for anything: the
// last look of a command that has ended is not worth a password.
type Unasked struct{}

// WithoutQuestions is a context in which nobody is asked for anything.
func WithoutQuestions(ctx context.Context) context.Context {
	return context.WithValue(ctx, Unasked{}, true)
}

// MayAsk says whether somebody may be asked for something.
func MayAsk(ctx context.Context) bool { return ctx.Value(Unasked{}) == nil }

// WithChanges is a context in which it is known whether something was changed.
func WithChanges(ctx context.Context) (context.Context, *changes) {
	made := new(changes)
	return context.WithValue(ctx, changesKey{}, made), made
}
