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

// Statuses asks all members side by side; the answers are in the order of
// Hosts.
func (r *Reader) Statuses(ctx context.Context) []Answer {
	hosts := r.Hosts()
	out := make([]Answer, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			s, err := r.Status(ctx, host)
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
func (r *Reader) Look(ctx context.Context) (Look, error) {
	var l Look
	var members, alarms error
	var wg sync.WaitGroup
	wg.Go(func() { l.Members, members = r.Members(ctx) })
	wg.Go(func() { l.Alarms, alarms = r.Alarms(ctx) })
	l.Answers = r.Statuses(ctx)
	wg.Wait()
	if members != nil {
		return Look{}, members
	}
	return l, alarms
}
