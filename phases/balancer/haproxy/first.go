package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// first switches the first API server off for a moment, in the running processes
// alone: a restart has it on. Open connections stay, and new ones find the other API
// servers, so nobody notices.
type first struct{}

// Missing lists the hosts whose HAProxy does not pass connections to it.
func (first) Missing(ctx context.Context, v phases.View) ([]string, error) {
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

// goneWithin is how long the endpoint may take to answer without it.
const goneWithin = 20 * time.Second

// Without switches it off on every host. The others get all clients meanwhile, so
// each of them has to be ready.
func (f first) Without(ctx context.Context, h phases.Hands, try func(ctx context.Context, out bool) error) (err error) {
	if err := balancer.OthersReady(ctx, h.View); err != nil {
		return err
	}
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	err = onEach(ctx, h, func(to remote.Host, now host, _ Config) error {
		rest := slices.DeleteFunc(on(now.running.servers), func(s string) bool { return s == address })
		if err := balancer.EveryoneAnswers(ctx, to, rest); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.First().Name, to.Name(), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		// Also where the run is asked to stop: it belongs there.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, f.PutBack(back, h))
	}()
	err = onEach(ctx, h, func(to remote.Host, now host, _ Config) error {
		return set(ctx, to, slices.DeleteFunc(slices.Clone(now.running.servers), func(s Server) bool { return s.Address != address }), false)
	})
	if err != nil {
		return err
	}
	return phases.Await(ctx, h.View, goneWithin, func(ctx context.Context) error { return try(ctx, true) })
}

// PutBack lets every host pass connections to it again.
func (first) PutBack(ctx context.Context, h phases.Hands) error {
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
		c, err := wanted(ctx, h.View, now.servers)
		if err == nil {
			err = configure(ctx, to, h.View, now, c)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
