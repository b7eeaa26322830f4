package nginx

import (
	"context"
	"errors"
	"slices"

	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// first takes the first API server's line out for a moment. A reload of nginx
// keeps open connections, and new ones find the other API servers, so nobody
// notices.
type first struct{}

// Missing lists the load balancers that do not forward to the first API
// server, or have not loaded the file by which they do.
func (first) Missing(ctx context.Context, v phases.Reader) ([]string, error) {
	first, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list, loaded, err := Forwarding(ctx, v.On(lb.Name), v)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, first) || !loaded {
			missing = append(missing, lb.Name)
		}
	}
	return missing, nil
}

// Without takes the line out on every host.
func (f first) Without(ctx context.Context, h phases.Writer, try func(ctx context.Context, out bool) error) error {
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	rest := func(ctx context.Context, host string) ([]string, error) {
		list, err := PresentBackends(ctx, h.On(host), h.Reader)
		return slices.DeleteFunc(list, func(s string) bool { return s == address }), err
	}
	return balancer.TakenOut{
		Rest: rest,
		Out: func(ctx context.Context, host string) error {
			list, err := rest(ctx, host)
			if err != nil {
				return err
			}
			return Configure(ctx, h.On(host), h.Reader, list)
		},
		Back: func(ctx context.Context) error { return f.PutBack(ctx, h) },
	}.Without(ctx, h, try)
}

// PutBack lets every load balancer forward to the first API server again,
// in its place: the first.
func (first) PutBack(ctx context.Context, h phases.Writer) error {
	first, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		host := h.On(lb.Name)
		list, loaded, err := Forwarding(ctx, host, h.Reader)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(list) > 0 && (!slices.Contains(list, first) || !loaded):
			if !slices.Contains(list, first) {
				list = slices.Insert(list, 0, first)
			}
			errs = append(errs, Configure(ctx, host, h.Reader, list))
		}
	}
	return errors.Join(errs...)
}
