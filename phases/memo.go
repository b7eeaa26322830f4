package phases

import (
	"context"
	"sync"
	"time"

	"hamigrate/migrate/podtrouble"
)

// fresh is how long a memo keeps its answer: the checks and the plan of one
// command ask within it; whoever did meanwhile what one of them asked for is
// seen to have done it.
const fresh = 2 * time.Minute

// asked is what an Access remembers of what it has asked.
type asked struct {
	mu       sync.Mutex
	memos    map[any]any // *memo of the answer's type, by the key of its question
	troubles podtrouble.Seen
}

// Remembered returns the answer to a dear question, which ask gives unless it is
// known. It is asked once for all who ask at the same time, and again some minutes
// later. The key is a value of a type that its package alone has; each key has one
// type of answer.
func Remembered[T any](ctx context.Context, v Reader, key any, ask func(context.Context) (T, error)) (T, error) {
	a := &v.access.asked
	a.mu.Lock()
	m, ok := a.memos[key].(*memo[T])
	if !ok {
		m = &memo[T]{}
		a.memos[key] = m
	}
	a.mu.Unlock()
	return m.get(ctx, ask)
}

// memo keeps the answer to a dear question, and asks it once for all who ask at
// the same time. Nothing is locked while it is asked.
type memo[T any] struct {
	mu   sync.Mutex
	last *answer[T]
}

type answer[T any] struct {
	done  chan struct{} // closed when what follows is there
	value T
	err   error
	at    time.Time
}

// get returns the answer, which ask gives unless it is known. An error is
// nobody's but that of who has asked: the next one asks again.
func (m *memo[T]) get(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	for {
		m.mu.Lock()
		a := m.last
		if a == nil {
			a = &answer[T]{done: make(chan struct{})}
			m.last = a
			m.mu.Unlock()
			a.value, a.err = ask(ctx)
			a.at = time.Now()
			if a.err != nil {
				m.forget(a)
			}
			close(a.done)
			return a.value, a.err
		}
		m.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
		if a.err == nil && time.Since(a.at) < fresh {
			return a.value, nil
		}
		m.forget(a)
	}
}

func (m *memo[T]) forget(a *answer[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == a {
		m.last = nil
	}
}
