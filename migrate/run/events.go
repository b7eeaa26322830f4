package run

import "hamigrate/migrate"

// both tells two listeners.
type Listeners []migrate.Events

func (b Listeners) Event(e migrate.Event) {
	for _, l := range b {
		l.Event(e)
	}
}

// onEvent is a listener that is a function.
type ListenerFunc func(migrate.Event)

func (f ListenerFunc) Event(e migrate.Event) { f(e) }
