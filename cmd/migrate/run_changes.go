package main

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

// errSignalled is the cause of a context that a signal has ended.
var errSignalled error = signalled{}

// changes says whether a command that signals stop has changed something. It is
// in the context of the command, for whoever changes something first.
type changes struct {
	mu   sync.Mutex
	made bool
}

type changesKey struct{}

// beginsToChange says that something is changed from now on: the first signal ends
// nothing in its middle any more.
func beginsToChange(ctx context.Context) {
	if c, ok := ctx.Value(changesKey{}).(*changes); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made = true
	}
}

// unlessMade calls end where nothing was changed, and says whether it has.
func (c *changes) unlessMade(end func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made {
		end()
	}
	return !c.made
}

// changingWith is a listener for whom a run begins to change something with its
// first step that is not only looked at.
func changingWith(ctx context.Context) onEvent {
	return func(e migrate.Event) {
		if e.Kind == migrate.EventStepStarted || e.Kind == migrate.EventStepUndoing {
			beginsToChange(ctx)
		}
	}
}

// inOwnWords is the error of a command that a signal has ended before it changed
// something: whatever look was given up then is of no interest.
//
// A step whose beginning was written down just before is another matter: its error
// stays, and says what is known.
func inOwnWords(ctx context.Context, err error) error {
	var interrupted *migrate.InterruptedError
	if errors.As(err, &interrupted) && interrupted.Status.Unfinished() {
		return err
	}
	if err != nil && errors.Is(context.Cause(ctx), errSignalled) {
		return errSignalled
	}
	return err
}

// unasked is the key of a context in which nobody is asked for anything: the
// last look of a command that has ended is not worth a password.
type unasked struct{}

// withoutQuestions is a context in which nobody is asked for anything.
func withoutQuestions(ctx context.Context) context.Context {
	return context.WithValue(ctx, unasked{}, true)
}

// mayAsk says whether somebody may be asked for something.
func mayAsk(ctx context.Context) bool { return ctx.Value(unasked{}) == nil }

// withChanges is a context in which it is known whether something was changed.
func withChanges(ctx context.Context) (context.Context, *changes) {
	made := new(changes)
	return context.WithValue(ctx, changesKey{}, made), made
}
