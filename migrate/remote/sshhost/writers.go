package sshhost

import (
	"context"
	"io"
	"runtime"
	"sync"
)

// tail keeps the last bytes written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	kept  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-t.limit):]...)
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.kept = t.kept[:copy(t.kept, t.kept[extra:])]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// limited passes on up to left bytes; what is more calls over and is
// swallowed. Of a host's outputs that are big one comes in at a time, since they
// are held in memory: the others wait for the turn in big, until ctx ends.
type limited struct {
	w    io.Writer // nil discards
	left int
	over func()
	ctx  context.Context
	big  chan struct{} // nil: there is no such bound

	mu    sync.Mutex
	got   int
	holds bool
	done  bool
}

// bigOutput is what a look may print without waiting for others that print as
// much.
const bigOutput = 1 << 20

// turn waits until a big output may come in; l.mu is held.
func (l *limited) turn() error {
	if l.done {
		return io.ErrClosedPipe
	}
	if l.big == nil || l.w == nil || l.holds || l.got <= bigOutput {
		return nil
	}
	select {
	case l.big <- struct{}{}:
		l.holds = true
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// close gives the turn back. What comes later is not taken: the output is read by
// now. It is called once nothing is written any more, or once ctx has ended.
func (l *limited) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	if l.holds {
		if l.left == 0 {
			runtime.GC() // it was cut, and the host may answer the next question alike
		}
		l.holds = false
		<-l.big
	}
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.turn(); err != nil {
		return 0, err
	}
	l.got += len(p)
	if len(p) > l.left {
		l.left = 0
		l.over()
		return len(p), nil
	}
	l.left -= len(p)
	if l.w == nil {
		return len(p), nil
	}
	return l.w.Write(p)
}
