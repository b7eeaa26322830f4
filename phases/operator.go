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
func (w *Access) UseAsk(tell func(string), wait time.Duration) {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	w.operator.tell, w.operator.wait = tell, wait
}

// Ask tells a person what to do now.
func (h Writer) Ask(what string) {
	h.access.operator.mu.Lock()
	tell := h.access.operator.tell
	h.access.operator.mu.Unlock()
	if tell != nil {
		tell(what)
	}
}

// AskWait is how long to wait for a person.
func (v Reader) AskWait() time.Duration {
	v.access.operator.mu.Lock()
	defer v.access.operator.mu.Unlock()
	if v.access.operator.wait > 0 {
		return v.access.operator.wait
	}
	return AskedForAtMost
}

// UseStop says what ends the waits that may be ended: a channel that is closed
// when the run is asked to stop. Nil: nothing does.
func (w *Access) UseStop(stop <-chan struct{}) {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	w.operator.stop = stop
}

func (w *Access) stopping() <-chan struct{} {
	w.operator.mu.Lock()
	defer w.operator.mu.Unlock()
	return w.operator.stop
}
