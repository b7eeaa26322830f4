package phases

import (
	"sync"
	"time"
)

// AskedForAtMost is how long a step waits for what only a person can do,
// unless something else is said.
const AskedForAtMost = 30 * time.Minute

// operator is the person who runs the program, as far as steps need one.
type operator struct {
	mu   sync.Mutex
	tell func(string)    // see UseAsk
	wait time.Duration   // see UseAsk
	stop <-chan struct{} // see UseStop
}

// UseAsk says how the steps tell a person what only they can do, and how long
// they then wait for it. Without it they wait and tell nobody but the journal.
// A nil tell and a wait of 0 mean that.
func (w *World) UseAsk(tell func(string), wait time.Duration) {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	w.operator.tell, w.operator.wait = tell, wait
}

// Ask tells a person what to do now.
func (h Hands) Ask(what string) {
	h.world.operator.mu.Lock()
	tell := h.world.operator.tell
	h.world.operator.mu.Unlock()
	if tell != nil {
		tell(what)
	}
}

// AskWait is how long to wait for a person.
func (v View) AskWait() time.Duration {
	v.world.operator.mu.Lock()
	defer v.world.operator.mu.Unlock()
	if v.world.operator.wait > 0 {
		return v.world.operator.wait
	}
	return AskedForAtMost
}

// UseStop says what ends the waits that may be ended: a channel that is closed
// when the run is asked to stop. Nil: nothing does.
func (w *World) UseStop(stop <-chan struct{}) {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	w.operator.stop = stop
}

func (w *World) stopping() <-chan struct{} {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	return w.operator.stop
}
