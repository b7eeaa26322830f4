package build

import (
	"sync"
	"time"
)

// paceAfter is how much measured work must be done before the pace of this
// machine is believed, in seconds.
const paceAfter = 20

// meter turns work into events. Work is counted in the seconds it took where
// it was measured; how much longer this machine takes is learnt from what it
// made itself, not from what it found in the cache. Seeming faster teaches
// nothing: Go's own cache makes some parts take no time, and not the next.
type meter struct {
	report func(Event)
	now    func() time.Time

	mu          sync.Mutex
	title       string
	part, parts int
	total       float64 // of all parts
	done        float64 // of the parts ended
	current     float64 // of the part under way
	share       float64 // of the part under way, 0 to 1
	worked      float64 // work done here and not found in the cache
	took        time.Duration
	began       time.Time // the part under way
	moved       time.Time // the last time anything got done
}

func newMeter(report func(Event), p plan) *meter {
	m := &meter{report: report, now: time.Now}
	for _, s := range p.seconds() {
		m.parts++
		m.total += float64(s)
	}
	m.began = m.now()
	m.moved = m.began
	return m
}

// begin starts a part of so many seconds.
func (m *meter) begin(title string, seconds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.title, m.current, m.share = title, float64(seconds), 0
	if seconds > 0 {
		m.part = min(m.part+1, m.parts)
	}
	m.began = m.now()
	m.moved = m.began
	m.send()
}

// advance says what share of the part is done, 0 to 1; less than before is
// ignored.
func (m *meter) advance(share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if share = min(share, 1); share <= m.share {
		return
	}
	m.share = share
	m.moved = m.now()
	m.send()
}

// end ends the part; made is false if it was found in the cache.
func (m *meter) end(made bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += m.current
	m.moved = m.now()
	if made {
		m.worked += m.current
		m.took += m.moved.Sub(m.began)
	}
	m.current, m.share = 0, 0
	m.send()
}

// tick reports that time has passed.
func (m *meter) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.send()
}

// finish reports that everything is there.
func (m *meter) finish(title string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.title, m.part, m.done, m.current = title, m.parts, m.total, 0
	m.send()
}

// run calls tick every second until the returned function is called, which
// waits for the last report.
func (m *meter) run() (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				m.tick()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// send reports; the caller holds mu.
func (m *meter) send() {
	if m.report == nil {
		return
	}
	m.report(Event{
		Title: m.title, Part: m.part, Parts: m.parts,
		Done: int(m.done + m.current*m.share), Total: int(m.total),
		Left: m.left(),
	})
}

// left is the work left at this machine's pace, less the time since the last
// of it got done, in whole seconds and never below one while work is left.
func (m *meter) left() time.Duration {
	work := m.total - m.done - m.current*m.share
	if work <= 0 {
		return 0
	}
	pace := 1.0
	if worked := m.worked + m.current*m.share; worked >= paceAfter {
		pace = max(1, (m.took+m.moved.Sub(m.began)).Seconds()/worked)
	}
	left := time.Duration(work*pace*float64(time.Second)) - m.now().Sub(m.moved)
	return max(left.Round(time.Second), time.Second)
}
