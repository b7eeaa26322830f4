package nginx

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// backends are the API servers in the upstream of each host's file.
type backends struct{}

func (backends) Check(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return migrate.Finding{}, err
	}
	before := migrate.Before{}
	var changes []migrate.Change
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list, loaded, err := Forwarding(ctx, v.On(lb.Name), v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if slices.Contains(list, address) {
			if !loaded {
				before[lb.Name] = strings.Join(list, ",")
			}
			continue
		}
		before[lb.Name] = strings.Join(list, ",")
		first, err := v.APIAddress(ctx, v.First().Name)
		if err != nil {
			return migrate.Finding{}, err
		}
		// In the plan of the whole migration phase 1 will have put it there.
		list = WithBackend(list, first)
		changes = append(changes, migrate.Change{Object: lb.Name + ": API servers behind the endpoint",
			Before: strings.Join(append(list, ""), "\n"), After: strings.Join(append(list, address, ""), "\n")})
	}
	if len(before) == 0 {
		return phases.Done("the load balancer forwards to %s", address), nil
	}
	f := phases.Need(before, "the load balancer does not forward to %s", address)
	f.Changes = changes
	return f, nil
}

// Reached goes from each host to the API server.
func (backends) Reached(ctx context.Context, v phases.Reader) error {
	return balancer.ReachedFromHosts(ctx, v)
}

// Add writes a line more on each host. nginx can't see /readyz.
func (backends) Add(ctx context.Context, h phases.Writer) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		host := h.On(lb.Name)
		list, err := PresentBackends(ctx, host, h.Reader)
		if err != nil {
			return err
		}
		if err := Configure(ctx, host, h.Reader, WithBackend(list, address)); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes the API server out of each load balancer and leaves the
// other lines as they are now. nginx then sends no new connection there. Those
// that are open stay: kubelets and controllers keep theirs for days, so there
// is no end to wait for, and nginx can only cut them. Their clients are asked
// to leave by the API server itself when it stops in order (HTTP/2 GOAWAY,
// watches ended), which the way back of the join lets it do.
func (backends) Remove(ctx context.Context, h phases.Writer) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		host := h.On(lb.Name)
		list, loaded, err := Forwarding(ctx, host, h.Reader)
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == address })
		if len(rest) == len(list) && (loaded || len(list) == 0) {
			continue
		}
		if err := balancer.SomeoneAnswers(ctx, host, rest); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.Target(), lb.Name, err)
		}
		if err := Configure(ctx, host, h.Reader, rest); err != nil {
			return err
		}
	}
	return nil
}

// Removed looks into each host's file, and whether nginx has loaded it.
func (backends) Removed(ctx context.Context, v phases.Reader) error {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list, loaded, err := Forwarding(ctx, v.On(lb.Name), v)
		if err != nil {
			return err
		}
		if slices.Contains(list, address) || !loaded {
			return fmt.Errorf("%s forwards to the API server of %s, or has not loaded its file: undo %s first", lb.Name, v.Target(), balancer.BackendID)
		}
	}
	return nil
}

// forwards is what the target's file says.
func forwards(ctx context.Context, v phases.Reader) (balancer.Forwards, error) {
	list, loaded, err := Forwarding(ctx, v.On(v.Target()), v)
	f := balancer.Forwards{Backends: list}
	if len(list) > 0 && !loaded {
		f.Stale = "nginx has not loaded its file since that was written"
	}
	return f, err
}
