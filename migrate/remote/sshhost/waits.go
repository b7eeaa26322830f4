package sshhost

import (
	"sync"
	"sync/atomic"
	"time"

	"hamigrate/migrate/remote"
)

const (
	// quietTime is how long a host may take for an answer before anybody is told
	// for whom the program waits.
	quietTime = 5 * time.Second
	// tellPause is between two such sentences about one host.
	tellPause = 10 * time.Second
)

// waits tells for which of a host's answers the program waits: of all those
// that one host owes, the one that is owed the longest. A nil waits tells
// nothing.
type waits struct {
	host   string
	tell   func(remote.Wait)
	asking *atomic.Int32 // questions to the person at the terminal that are open

	mu    sync.Mutex
	owed  []*owed // the oldest first
	timer *time.Timer
	at    time.Time // when it was last told
}

// owed is one answer.
type owed struct {
	what  string
	since time.Time
}

func newWaits(host string, o Options, asking *atomic.Int32) *waits {
	if o.Waits == nil {
		return nil
	}
	return &waits{host: host, tell: o.Waits, asking: asking}
}

// begin notes an answer that is waited for from now on; done is its end.
func (w *waits) begin(what string) (done func()) {
	if w == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &owed{what, time.Now()}
	w.owed = append(w.owed, o)
	if len(w.owed) == 1 {
		w.timer = time.AfterFunc(quietTime, w.tick)
	}
	return func() { w.end(o) }
}

func (w *waits) end(o *owed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.owed {
		if w.owed[i] == o {
			w.owed = append(w.owed[:i], w.owed[i+1:]...)
			break
		}
	}
	if len(w.owed) == 0 {
		w.timer.Stop()
	}
}

// tick tells of the oldest answer, once it is late. While a person types a
// password nothing is told: it would be written into their line.
func (w *waits) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.owed) == 0 {
		return
	}
	lasts := time.Since(w.owed[0].since)
	late := max(quietTime-lasts, tellPause-time.Since(w.at))
	switch {
	case late > 0:
		w.timer.Reset(late)
		return
	case w.asking == nil || w.asking.Load() == 0:
		w.at = time.Now()
		w.tell(remote.Wait{Host: w.host, For: w.owed[0].what, Lasts: lasts})
	}
	w.timer.Reset(tellPause)
}
