package main

import "hamigrate/migrate"

// both tells two listeners.
type both []migrate.Events

func (b both) Event(e migrate.Event) {
	for _, l := range b {
		l.Event(e)
	}
}

// onEvent is a listener that is a function.
type onEvent func(migrate.Event)

func (f onEvent) Event(e migrate.Event) { f(e) }
