package sshhost

import (
	"io"
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
// swallowed.
type limited struct {
	w    io.Writer // nil discards
	left int
	over func()
}

func (l *limited) Write(p []byte) (int, error) {
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
