package audit

import "context"

// etcdClients lists them. kubeadm's own are not among them: the API server is
// a point of its own.
func etcdClients(ctx context.Context, s *scene) (Seen, error) {
	found, err := s.EtcdClients(ctx)
	if err != nil {
		s.miss(s.First().Name, err)
		return Seen{}, err
	}
	var where []string
	for _, c := range found {
		where = append(where, c.What)
	}
	return listed(where, where), nil
}
