package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// changesBegun is set when a command that may change something begins. From then on no
// output holds it up: a run that waits for its terminal in the middle of a restart
// leaves the API away until somebody presses Ctrl-Q, and does not hear Ctrl-C either.
var changesBegun atomic.Bool

// heldUpFor is how long a write may take before it is given up.
const heldUpFor = 2 * time.Second

// errHeldUp says why nothing can be shown.
var errHeldUp = errors.New("it is held up: Ctrl-S on the terminal, or a reader that does not read")

// patience writes to an output for a while, and no longer. What was begun to be
// written is shown when the output goes on; what comes meanwhile is not, and that is
// said then.
type patience struct {
	turn    chan struct{} // held by who writes, also behind one that has given up
	mu      sync.Mutex
	held    bool
	skipped int
}

func newPatience() *patience { return &patience{turn: make(chan struct{}, 1)} }

// write is file.Write; errHeldUp where that takes too long.
func (p *patience) write(file *os.File, text []byte) (int, error) {
	limit := time.NewTimer(heldUpFor)
	defer limit.Stop()
	if !p.take(limit.C) {
		return 0, errHeldUp
	}
	p.mu.Lock()
	all := append([]byte(nil), text...) // who writes may use it again
	if p.skipped > 0 {
		all = append(fmt.Appendf(nil, "\nmigrate: this output was held up, and %d lines or so were not shown: `migrate log` has them\n", p.skipped), all...)
	}
	p.skipped = 0
	p.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		_, err := file.Write(all)
		p.mu.Lock()
		p.held = false
		p.mu.Unlock()
		<-p.turn
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return 0, err
		}
		return len(text), nil
	case <-limit.C:
		p.mu.Lock()
		p.held = true
		p.mu.Unlock()
		return 0, errHeldUp
	}
}

// take waits for the turn, but not where the output is known to be held up.
func (p *patience) take(limit <-chan time.Time) bool {
	select {
	case p.turn <- struct{}{}:
		return true
	default:
	}
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if !held {
		select {
		case p.turn <- struct{}{}:
			return true
		case <-limit:
		}
	}
	p.mu.Lock()
	p.skipped++
	p.mu.Unlock()
	return false
}
