package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"hamigrate/migrate/remote"
)

// limits are how long a host may take. They are a field of its target so that
// tests need not wait for them.
type limits struct {
	// look bounds one look, from its session to its answer. Its context may end
	// earlier. The longest look of ours is that for preflight's facts: it waits
	// up to 26 s for a preflight that ran before, and reads for some seconds.
	look time.Duration
	// login bounds each command of a login: a host with a dead disk lets one in
	// and then says nothing, and whoever logs in may have set no deadline.
	login time.Duration
	// forward bounds the way from the host to an address. A host that does not
	// answer there at all would take the two minutes of TCP.
	forward time.Duration
	// second bounds the question after one in vain: a whole command is to end
	// within a minute on a host that is dead.
	second time.Duration
	// pause is for how long a host is not asked again after that, or after a
	// login that was slow and failed: all that a command wants to know of a dead
	// host is the time of one question, not of a hundred.
	pause time.Duration
	// slow is what a login takes at least whose failure is remembered. One that
	// is refused at once costs nothing to try again.
	slow time.Duration
}

// usualLimits add up to 55 s for a host that falls silent, and to 40 s for one
// that does so while we log in (10 s each for the connection and the keys).
func usualLimits() limits {
	return limits{
		look: 45 * time.Second, login: 20 * time.Second, forward: 15 * time.Second,
		second: 10 * time.Second, pause: 10 * time.Second, slow: 5 * time.Second,
	}
}

// silence knows whether a host answers what it is asked. After one question in
// vain the next one has less time, and those that come meanwhile wait for what
// becomes of it. After two, questions fail at once for a while; then one is asked
// again. Any answer makes the host one like all others.
//
// One look that hangs (a container runtime that is stuck) is no silence of the
// host: the second question is answered.
type silence struct {
	host   target
	limits limits

	mu     sync.Mutex
	misses int           // questions in vain since the last answer
	since  time.Time     // when the first of them was asked
	first  string        // what it was
	missed time.Time     // when the last one was given up
	heard  time.Time     // the last answer
	second chan struct{} // closed when the question is over that others wait for
}

// question is something that a host was asked and that has a limit. A nil
// question has none.
type question struct {
	of     *silence
	what   string
	limit  time.Duration
	second bool // others wait for what becomes of it
	began  time.Time
	timer  *time.Timer
}

// ask begins a question, unless the host is silent. Where the limit is over,
// giveUp is called with what is to be said. What a change asks is asked in any
// case, waits for no other question, and has all of its time.
func (s *silence) ask(ctx context.Context, what string, limit time.Duration, giveUp context.CancelCauseFunc) (*question, error) {
	if s == nil {
		return nil, nil
	}
	q := &question{of: s, what: what, limit: limit}
	for !remote.Changes(ctx) {
		wait, err := s.admit(q)
		if err != nil {
			return nil, err
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	q.began = time.Now()
	q.timer = time.AfterFunc(q.limit, func() { giveUp(mistakef(ErrSilent, nil, "no answer within %s", inSeconds(q.limit))) })
	return q, nil
}

// admit lets a question be asked, or says for what it has to wait.
func (s *silence) admit(q *question) (wait <-chan struct{}, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.misses == 0:
		return nil, nil
	case s.second != nil:
		return s.second, nil
	case s.misses > 1 && time.Since(s.missed) < s.limits.pause:
		return nil, mistakef(ErrSilent, nil, "%s does not answer: no reply for %s (the first without a reply was %s); try it yourself: %s uptime",
			s.host.name, inSeconds(time.Since(s.since)), s.first, s.host.byHand())
	}
	s.second = make(chan struct{})
	q.second = true
	// Later ones have all of their time again: a host that takes 12 s for each
	// answer would be silent for ever. What takes longer by its nature than a look
	// is given that time in the second, too.
	if s.misses == 1 {
		q.limit = min(q.limit, s.limits.second+max(0, q.limit-s.limits.look))
	}
	return nil, nil
}

// alive gives the host the whole time once more: it has shown that it does
// something for us.
func (q *question) alive() {
	if q != nil {
		q.timer.Reset(q.limit)
	}
}

// hold stops the time: it is we who have something to do.
func (q *question) hold() {
	if q != nil {
		q.timer.Stop()
	}
}

// end says what became of the question.
func (q *question) end(err error) {
	if q == nil {
		return
	}
	q.timer.Stop()
	s := q.of
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case answered(err):
		s.misses, s.heard = 0, time.Now()
	case s.inVain(q, err):
		if s.misses++; s.misses == 1 {
			s.since, s.first = q.began, q.what
		}
		s.missed = time.Now()
	}
	if q.second {
		close(s.second)
		s.second = nil
	}
}

// answered says whether an error came from the host itself.
func answered(err error) bool {
	return err == nil || asExit(err, new(*remote.ExitError)) || errors.Is(err, ErrOutputLimit) || errors.Is(err, ErrForwarding)
}

// inVain says whether the host had its time: its own limit is over, or whoever
// asked had less patience, but enough. A host that has answered others meanwhile
// is not silent.
func (s *silence) inVain(q *question, err error) bool {
	if s.heard.After(q.began) {
		return false
	}
	return errors.Is(err, ErrSilent) || errors.Is(err, context.DeadlineExceeded) && time.Since(q.began) >= s.limits.second
}

// paced is where a stream is written to. Only the time in which the host has
// nothing for us counts: whoever reads may be slow.
type paced struct {
	w io.Writer
	q *question
}

func (p paced) Write(b []byte) (int, error) {
	p.q.hold()
	defer p.q.alive()
	return p.w.Write(b)
}

// failure remembers a login that took long and failed, so that all who want to
// know something of the host do not wait for the same. A host that was logged in
// to before, and was lost, is dialed again all the same: it may be restarting,
// and patience bounds that.
type failure struct {
	err error
	at  time.Time
}

// again is the error, while it is fresh. A change does not hear of it.
func (f *failure) again(ctx context.Context, l limits) error {
	if f.err == nil || time.Since(f.at) >= l.pause || remote.Changes(ctx) {
		return nil
	}
	return f.err
}

// note remembers how a login that began then has ended.
func (f *failure) note(ctx context.Context, t target, began time.Time, err error) {
	*f = failure{}
	took := time.Since(began)
	if err == nil || took < t.limits.slow {
		return
	}
	switch late := errors.Is(context.Cause(ctx), context.DeadlineExceeded); {
	case late && took < t.timeout:
		return // it was not given its time
	case late:
		err = mistakef(ErrSilent, err, "%s (%s) has not let us in within %s; see what your own ssh says: %s true", t.name, t.address, inSeconds(took), t.byHand())
	case ctx.Err() != nil, !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrSilent):
		return // stopped, or the host has said something
	}
	*f = failure{err, time.Now()}
}

// inSeconds is a time for a sentence.
func inSeconds(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
