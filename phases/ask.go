package phases

import "time"

// AskedForAtMost is how long a step waits for what only a person can do,
// unless something else is said.
const AskedForAtMost = 30 * time.Minute

// UseAsk says how the steps tell a person what only they can do, and how long
// they then wait for it. Without it they wait and tell nobody but the journal.
// A nil tell and a wait of 0 mean that.
func (w *World) UseAsk(tell func(string), wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell, w.askWait = tell, wait
}

// Ask tells a person what to do now.
func (h Hands) Ask(what string) {
	h.world.mu.Lock()
	tell := h.world.tell
	h.world.mu.Unlock()
	if tell != nil {
		tell(what)
	}
}

// AskWait is how long to wait for a person.
func (v View) AskWait() time.Duration {
	v.world.mu.Lock()
	defer v.world.mu.Unlock()
	if v.world.askWait > 0 {
		return v.world.askWait
	}
	return AskedForAtMost
}
