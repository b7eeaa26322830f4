package etcd

import (
	"context"
	"sync"
)

// Answer is what the member on one host said of itself, or why it did not.
type Answer struct {
	Host   string
	Status Status
	Err    error
}

// Statuses asks all members side by side, as Status does; the answers are in
// the order of Hosts.
func (r *Reader) Statuses(ctx context.Context) []Answer { return r.statuses(ctx, statusAnew) }

func (r *Reader) statuses(ctx context.Context, again anew) []Answer {
	hosts := r.Hosts()
	out := make([]Answer, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			s, err := r.status(ctx, host, again)
			out[i] = Answer{host, s, err}
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
func (r *Reader) Look(ctx context.Context) (Look, error) { return r.look(ctx, statusAnew) }

// Glance is Look for who asks again and again: a member that refuses
// connections is told as away at once. One that was just removed stops within a
// moment, and would be waited for.
func (r *Reader) Glance(ctx context.Context) (Look, error) { return r.look(ctx, statusIfThere) }

func (r *Reader) look(ctx context.Context, again anew) (Look, error) {
	var l Look
	var members, alarms error
	var wg sync.WaitGroup
	wg.Go(func() { l.Members, members = r.Members(ctx) })
	wg.Go(func() { l.Alarms, alarms = r.Alarms(ctx) })
	l.Answers = r.statuses(ctx, again)
	wg.Wait()
	if members != nil {
		return Look{}, members
	}
	return l, alarms
}
