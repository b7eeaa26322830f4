package haproxy

import (
	"context"
	"errors"
	"slices"

	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// first switches the first API server off for a moment, in the running processes
// alone: a restart has it on. Open connections stay, and new ones find the other API
// servers, so nobody notices.
type first struct{}

// Missing lists the hosts whose HAProxy does not pass connections to it.
func (first) Missing(ctx context.Context, v phases.Reader) ([]string, error) {
	address, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		h, err := look(ctx, v.On(lb.Name))
		if err != nil {
			return nil, err
		}
		if now, next := h.passes(address); !now || !next {
			missing = append(missing, lb.Name)
		}
	}
	return missing, nil
}

// Without switches it off on every host.
func (f first) Without(ctx context.Context, h phases.Writer, try func(ctx context.Context, out bool) error) error {
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	return balancer.TakenOut{
		Rest: func(ctx context.Context, name string) ([]string, error) {
			now, err := askRunning(ctx, h.On(name))
			return slices.DeleteFunc(on(now.servers), func(s string) bool { return s == address }), err
		},
		Out: func(ctx context.Context, name string) error {
			now, err := askRunning(ctx, h.On(name))
			if err != nil {
				return err
			}
			return set(ctx, h.On(name), slices.DeleteFunc(now.servers, func(s Server) bool { return s.Address != address }), false)
		},
		Back: func(ctx context.Context) error { return f.PutBack(ctx, h) },
	}.Without(ctx, h, try)
}

// PutBack lets every host pass connections to it again.
func (first) PutBack(ctx context.Context, h phases.Writer) error {
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		to := h.On(lb.Name)
		now, err := look(ctx, to)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		passes, next := now.passes(address)
		if now.file == "" || passes && next {
			continue
		}
		c, err := wanted(ctx, h.Reader, now.servers)
		if err == nil {
			err = configure(ctx, to, h.Reader, now, c)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
