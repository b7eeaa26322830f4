package nginx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// first takes the first API server's line out for a moment. A reload of nginx
// keeps open connections, and new ones find the other API servers, so nobody
// notices.
type first struct{}

// Missing lists the load balancers that do not forward to the first API
// server, or have not loaded the file by which they do.
func (first) Missing(ctx context.Context, v phases.View) ([]string, error) {
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

// goneWithin is how long the first API server may be met after the reload.
const goneWithin = 20 * time.Second

// Without takes the line out on every host. The others get all clients meanwhile,
// so each of them has to be ready.
func (f first) Without(ctx context.Context, h phases.Hands, try func(ctx context.Context, out bool) error) (err error) {
	if err := balancer.OthersReady(ctx, h.View); err != nil {
		return err
	}
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	rest := make([][]string, len(h.Spec().LoadBalancer.Hosts))
	for i, lb := range h.Spec().LoadBalancer.Hosts {
		list, err := PresentBackends(ctx, h.On(lb.Name), h.View)
		if err != nil {
			return err
		}
		rest[i] = slices.DeleteFunc(list, func(s string) bool { return s == address })
		if err := balancer.EveryoneAnswers(ctx, h.On(lb.Name), rest[i]); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.First().Name, lb.Name, err)
		}
	}
	defer func() {
		// Also where the run is asked to stop: the line belongs there.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, f.PutBack(back, h))
	}()
	for i, lb := range h.Spec().LoadBalancer.Hosts {
		if err := Configure(ctx, h.On(lb.Name), h.View, rest[i]); err != nil {
			return err
		}
	}
	// The workers of before a reload serve no new connection, and end
	// some tenths of a second later. Nothing else is waited for: an endpoint that
	// does not answer now ends the proof, and the first API server is put back.
	return phases.Await(ctx, h.View, goneWithin, func(ctx context.Context) error { return try(ctx, true) })
}

// PutBack lets every load balancer forward to the first API server again,
// in its place: the first.
func (first) PutBack(ctx context.Context, h phases.Hands) error {
	first, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		host := h.On(lb.Name)
		list, loaded, err := Forwarding(ctx, host, h.View)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(list) > 0 && (!slices.Contains(list, first) || !loaded):
			if !slices.Contains(list, first) {
				list = slices.Insert(list, 0, first)
			}
			errs = append(errs, Configure(ctx, host, h.View, list))
		}
	}
	return errors.Join(errs...)
}
