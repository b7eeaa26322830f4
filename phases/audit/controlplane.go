package audit

import (
	"context"
	"fmt"
	"net"
	"slices"

	"hamigrate/migrate/kube"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// apiServers goes by the kubernetes Service: each API server that lives enters
// itself there.
func apiServers(ctx context.Context, s *scene) (Seen, error) {
	addresses, err := s.kube.EndpointAddresses(ctx, "default", "kubernetes")
	if err != nil {
		return Seen{}, err
	}
	slices.Sort(addresses)
	seen := Seen{State: state(len(addresses)), Where: addresses, Text: fmt.Sprintf("%d: %s", len(addresses), some(addresses))}
	if len(addresses) > 1 && !s.moved() {
		seen.Text += "; but clients are told of one address, not of all (kubeadm-config has no controlPlaneEndpoint of this spec)"
	}
	return seen, nil
}

// etcdMembers counts those of which one may be lost.
func etcdMembers(ctx context.Context, s *scene) (Seen, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return Seen{}, err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return Seen{}, err
	}
	answering := map[uint64]bool{}
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil {
			answering[a.Status.MemberID] = true
		}
	}
	voters, alive := 0, 0
	var where []string
	for _, m := range members {
		word := "learner"
		if !m.Learner {
			voters++
			word = "voter"
			if answering[m.ID] {
				alive++
			} else {
				word = "voter that does not answer"
			}
		}
		where = append(where, fmt.Sprintf("%s at %s, %s", m.Name, m.PeerHost(), word))
	}
	slices.Sort(where)
	spare := alive - (voters/2 + 1)
	seen := Seen{State: Redundant, Where: where, Text: fmt.Sprintf("%d voters, of which %d may be lost", voters, max(spare, 0))}
	if spare < 1 {
		seen.State = Single
	}
	return seen, nil
}

// component counts the nodes on which a static pod of the control plane is
// Ready.
func component(name string) func(context.Context, *scene) (Seen, error) {
	return func(_ context.Context, s *scene) (Seen, error) {
		var on []string
		labelled := 0
		for _, p := range s.pods {
			if p.Namespace != "kube-system" || p.Labels["component"] != name {
				continue
			}
			labelled++
			if kube.PodReady(p) && !slices.Contains(on, p.Spec.NodeName) {
				on = append(on, p.Spec.NodeName)
			}
		}
		slices.Sort(on)
		if labelled == 0 {
			// kubeadm labels them so; where somebody does not, the nodes tell.
			return Seen{State: state(len(s.planes)), Where: s.planes, Text: fmt.Sprintf("no pod is labelled component=%s; there are %d control-plane nodes", name, len(s.planes))}, nil
		}
		return Seen{State: state(len(on)), Where: on, Text: fmt.Sprintf("Ready on %s", some(on))}, nil
	}
}

// loadBalancer tells of the one that the migration adds: one nginx is one
// machine.
func loadBalancer(ctx context.Context, s *scene) (Seen, error) {
	spec := s.Spec()
	hosts, lb := spec.LoadBalancer.Hosts, balancers.Of(spec)
	var where []string
	for _, h := range hosts {
		where = append(where, fmt.Sprintf("%s (%s)", h.Name, h.Address))
	}
	endpoint := s.EndpointAddress()
	switch {
	case !lb.Configured():
		return Seen{State: Unknown, Text: fmt.Sprintf("%s is your own load balancer's: whether that is redundant cannot be seen from here", endpoint)}, nil
	case spec.Endpoint.Host == "" && s.moved():
		return Seen{State: Unknown, Text: fmt.Sprintf("clients are told of %s: whether what is there is redundant cannot be seen without a spec", s.config.ControlPlaneEndpoint())}, nil
	case spec.Endpoint.Host == "":
		return Seen{State: Adds, Text: fmt.Sprintf("there is none. Phase 1 adds one, and one %s is a single point of failure that this cluster does not have today", lb.Machine)}, nil
	case !s.moved() && len(hosts) > 0:
		return Seen{State: Adds, Where: where, Text: fmt.Sprintf("there is none yet. Phase 1 adds %s in front of the API, and with it a single point of failure that this cluster does not have today: %s", machines(lb, len(hosts)), ownAddress(ctx, s))}, nil
	}
	if net.ParseIP(spec.Endpoint.Host) == nil {
		n, err := s.resolve(ctx)
		if err != nil {
			return Seen{}, err
		}
		if n > 1 {
			return Seen{State: Redundant, Where: where, Text: fmt.Sprintf("%s leads to %d addresses; a client that gets the lost one waits until it tries the other", spec.Endpoint.Host, n)}, nil
		}
	}
	for _, h := range hosts {
		if h.Address == spec.Endpoint.Host {
			return Seen{State: Single, Where: where, Text: fmt.Sprintf("%s is the address of %s alone", endpoint, h.Name)}, nil
		}
	}
	if len(hosts) == 1 {
		return Seen{State: Single, Where: where, Text: fmt.Sprintf("%s leads to %s, which is one machine", endpoint, hosts[0].Name)}, nil
	}
	return Seen{State: Unknown, Where: where, Text: fmt.Sprintf("%s is the address of none of the %d load balancers: whether it moves between them cannot be seen from here", endpoint, len(hosts))}, nil
}

func machines(lb balancer.Balancer, n int) string {
	if n == 1 {
		return "one " + lb.Machine
	}
	return fmt.Sprintf("%d times %s", n, lb.Machine)
}

// ownAddress says what the endpoint's address is.
func ownAddress(_ context.Context, s *scene) string {
	for _, h := range s.Spec().LoadBalancer.Hosts {
		if h.Address == s.Spec().Endpoint.Host {
			return fmt.Sprintf("the endpoint %s is the address of %s alone", s.EndpointAddress(), h.Name)
		}
	}
	return fmt.Sprintf("the endpoint %s must move between them, which is not this program's work", s.EndpointAddress())
}
