package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Answer is what the member on one host said of itself, or why it did not.
type Answer struct {
	Host   string
	Status Status
	Err    error
}

// Statuses asks all members side by side, as Status does; the answers are in
// the order of Hosts.
func (r *Reader) Statuses(ctx context.Context) []Answer {
	return r.statuses(ctx, statusAnew, func(Answer) {})
}

// statuses tells heard of each answer when it comes.
func (r *Reader) statuses(ctx context.Context, fresh freshStatus, heard func(Answer)) []Answer {
	hosts := r.Hosts()
	out := make([]Answer, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			s, err := r.status(ctx, host, fresh)
			if err != nil && errors.Is(context.Cause(ctx), errNoMember) {
				err = fmt.Errorf("asking etcd on %s for its status: %w", host, errNoMember)
			}
			out[i] = Answer{host, s, err}
			heard(out[i])
		})
	}
	wg.Wait()
	return out
}

// Look is the cluster as it was seen in one moment.
type Look struct {
	Members []Member // as Members lists them
	Alarms  []string // as Alarms lists them
	Answers []Answer // of every endpoint, in the order of Hosts
}

// Look asks for members, alarms and every member's status side by side. The
// error is that of Members or Alarms; a member that does not answer is told in
// its Answer.
func (r *Reader) Look(ctx context.Context) (Look, error) {
	return r.look(ctx, ctx, statusAnew, &rollCall{complete: func() {}})
}

// Glance is Look for who asks again and again, and does not wait for one that
// was just removed, which stops within some moments: a member that refuses
// connections is told as away at once, and so is one that is in no list and
// says nothing, soon after all that are in it have answered.
func (r *Reader) Glance(ctx context.Context) (Look, error) {
	asking, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	began := time.Now()
	return r.look(ctx, asking, statusIfThere, &rollCall{complete: func() {
		time.AfterFunc(grace+others*time.Since(began), func() { leave(errNoMember) })
	}})
}

// One that is in no list may be of another cluster, and should be heard. When
// all others have answered it has some time more, and several times what they
// took: it may need a new connection where they had theirs.
const (
	grace  = 100 * time.Millisecond
	others = 5
)

var errNoMember = errors.New("it is in no list of members and did not answer")

// look asks for the list under ctx, and the members themselves under asking.
func (r *Reader) look(ctx, asking context.Context, fresh freshStatus, roll *rollCall) (Look, error) {
	var l Look
	var members, alarms error
	var wg sync.WaitGroup
	wg.Go(func() {
		if l.Members, members = r.Members(ctx); members == nil {
			roll.listed(l.Members)
		}
	})
	wg.Go(func() { l.Alarms, alarms = r.Alarms(ctx) })
	l.Answers = r.statuses(asking, fresh, roll.heard)
	wg.Wait()
	if members != nil {
		return Look{}, members
	}
	return l, alarms
}

// rollCall calls complete once, when every member of the list has answered.
type rollCall struct {
	complete func()

	mu       sync.Mutex
	list     []Member
	answered []uint64
}

func (c *rollCall) listed(members []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = members
	c.count()
}

func (c *rollCall) heard(a Answer) {
	if a.Err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = append(c.answered, a.Status.MemberID)
	c.count()
}

func (c *rollCall) count() {
	missing := func(m Member) bool { return !slices.Contains(c.answered, m.ID) }
	if len(c.list) == 0 || slices.ContainsFunc(c.list, missing) {
		return
	}
	c.complete()
	c.complete = func() {}
}
