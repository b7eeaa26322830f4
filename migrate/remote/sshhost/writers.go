package sshhost

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"
)

// tail keeps the last bytes written to it, and notes where mark passes: any
// amount may be written behind it.
type tail struct {
	limit int
	mark  string // "" for none

	mu     sync.Mutex
	kept   []byte
	before []byte // the last bytes, which may begin the mark
	found  bool
	behind []byte // what came behind the first mark, to the end of its line
	whole  bool   // there is no more of it
}

// markedLine is how much is kept of a line behind the mark.
const markedLine = 400

// look looks for the mark in what comes next; t.mu is held.
func (t *tail) look(p []byte) {
	if t.mark == "" || t.whole {
		return
	}
	if !t.found {
		p = append(t.before, p...)
		_, rest, found := bytes.Cut(p, []byte(t.mark))
		if !found {
			t.before = bytes.Clone(p[max(0, len(p)-len(t.mark)+1):])
			return
		}
		t.found, t.before, p = true, nil, rest
	}
	line, _, ended := bytes.Cut(p, []byte("\n"))
	t.behind = append(t.behind, line[:min(len(line), markedLine-len(t.behind))]...)
	t.whole = ended || len(t.behind) == markedLine
}

// marked says whether the mark has passed.
func (t *tail) marked() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found
}

// behindMark is the rest of the line that the first mark was in.
func (t *tail) behindMark() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.behind)
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look(p)
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
// swallowed. Of a host's outputs of looks that are big one comes in at a time,
// since they are held in memory: the others wait for the turn in big, until ctx
// ends. That is no time in which the host is waited for.
type limited struct {
	w    io.Writer // nil discards
	left int
	over func()
	ctx  context.Context
	big  chan struct{} // nil: there is no such bound
	q    *question

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
	l.q.hold()
	select {
	case l.big <- struct{}{}:
		l.q.alive()
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
