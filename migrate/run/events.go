package run

import "hamigrate/migrate"

// Listeners are several listeners as one.
type Listeners []migrate.Events

// Event tells all of them, in their order.
func (b Listeners) Event(e migrate.Event) {
	for _, l := range b {
		l.Event(e)
	}
}

// ListenerFunc is a listener that is a function.
type ListenerFunc func(migrate.Event)

// Event calls the function.
func (f ListenerFunc) Event(e migrate.Event) { f(e) }
