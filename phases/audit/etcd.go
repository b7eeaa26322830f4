package audit

import (
	"context"
	"hamigrate/phases/consumers"
)

// etcdClients lists them. kubeadm's own are not among them: the API server is
// a point of its own.
func etcdClients(ctx context.Context, s *scene) (Seen, error) {
	use, err := consumers.EtcdClients(ctx, s.Reader, lookLimit*4/5) // so that the rest is told
	if err != nil {
		s.miss(s.First().Name, err)
		return Seen{}, err
	}
	var where []string
	for _, c := range use.Clients {
		if !c.Ready { // else it goes on with the new members
			where = append(where, c.What)
		}
	}
	return listed(where, where, use.Unseen...), nil
}
