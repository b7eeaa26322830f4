package nginx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
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

// goneWithin is how long the first API server may be met after the reload.
const goneWithin = 20 * time.Second

// Without takes the line out on every host. The others get all clients meanwhile,
// so each of them has to be ready.
func (f first) Without(ctx context.Context, h phases.Writer, try func(ctx context.Context, out bool) error) (err error) {
	if err := balancer.OthersReady(ctx, h.Reader); err != nil {
		return err
	}
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	rest := make([][]string, len(h.Spec().LoadBalancer.Hosts))
	for i, lb := range h.Spec().LoadBalancer.Hosts {
		list, err := PresentBackends(ctx, h.On(lb.Name), h.Reader)
		if err != nil {
			return err
		}
		rest[i] = slices.DeleteFunc(list, func(s string) bool { return s == address })
		if err := everyoneAnswers(ctx, h.On(lb.Name), rest[i]); err != nil {
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
		if err := Configure(ctx, h.On(lb.Name), h.Reader, rest[i]); err != nil {
			return err
		}
	}
	// The workers of before a reload serve no new connection, and end
	// some tenths of a second later. Nothing else is waited for: an endpoint that
	// does not answer now ends the proof, and the first API server is put back.
	return phases.Await(ctx, h.Reader, goneWithin, func(ctx context.Context) error { return try(ctx, true) })
}

// everyoneAnswers wants all of these API servers, and one at least.
func everyoneAnswers(ctx context.Context, lb remote.Reader, backends []string) error {
	if len(backends) == 0 {
		return errors.New("there is no other one")
	}
	for _, b := range backends {
		if _, err := kube.ServedCertificate(ctx, lb.DialContext, b, nil); err != nil {
			return err
		}
	}
	return nil
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
