package probe

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// event names what a write makes a watch tell. A name is used for one object
// only, and each object is created, updated and deleted at most once each,
// so that a write has exactly one event of its own.
type event struct {
	name string
	kind watch.EventType
}

// ledger holds the events that a watch owes us: those of acknowledged writes
// that were sent while the watch was on. It is safe for concurrent use.
type ledger struct {
	series *series

	mu       sync.Mutex
	watching bool
	open     map[event]*entry
	owed     int           // acknowledged and not arrived
	settled  chan struct{} // closed when owed falls to 0; nil: nobody waits
}

// entry is one write whose account is open.
type entry struct {
	sent    time.Time
	acked   bool
	arrived time.Time // zero: not yet. An event may come before the answer.
}

func newLedger(s *series) *ledger {
	return &ledger{series: s, open: map[event]*entry{}}
}

// watchFromNow says that from now on each write's event will be seen.
func (l *ledger) watchFromNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching = true
}

// sent opens the account of a write that is about to be sent.
func (l *ledger) sent(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching {
		l.open[e] = &entry{sent: time.Now()}
	}
}

// acked notes that the write was acknowledged: its event is owed.
func (l *ledger) acked(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	en, ok := l.open[e]
	if !ok {
		return
	}
	if !en.arrived.IsZero() {
		l.close(e, en)
		return
	}
	en.acked = true
	l.owed++
}

// unknown closes the account of a write that failed: it may have been done
// or not, and nothing is owed.
func (l *ledger) unknown(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, e)
}

// seen notes that an event arrived.
func (l *ledger) seen(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	en, ok := l.open[e]
	if !ok || !en.arrived.IsZero() {
		return
	}
	en.arrived = time.Now()
	if en.acked {
		l.owed--
		l.close(e, en)
	}
}

// close closes a complete account; l.mu is held.
func (l *ledger) close(e event, en *entry) {
	delete(l.open, e)
	l.series.event(en.sent, en.arrived)
	if l.owed == 0 && l.settled != nil {
		close(l.settled)
		l.settled = nil
	}
}

// whenSettled returns a channel that is closed once nothing is owed. It is
// meant for the time when no more writes are sent.
func (l *ledger) whenSettled() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := make(chan struct{})
	if l.owed == 0 {
		close(ch)
		return ch
	}
	l.settled = ch
	return ch
}

// writeOff makes everything still owed a missed event.
func (l *ledger) writeOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e, en := range l.open {
		if en.acked {
			l.series.missed(en.sent, answeredError(fmt.Sprintf("event never arrived: %s", e.kind)))
		}
	}
	clear(l.open)
	l.owed = 0
}
