package balancer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

// goneWithin is how long the endpoint may take to answer without the first API
// server, once it is taken out.
const goneWithin = 20 * time.Second

// TakenOut are the parts of First.Without that a kind with hosts of its own has.
type TakenOut struct {
	// Rest are the API servers, as host:port, that a host passes connections to
	// without the first one.
	Rest func(ctx context.Context, host string) ([]string, error)
	// Out takes the first one out of a host. Open connections stay.
	Out func(ctx context.Context, host string) error
	// Back is First.PutBack.
	Back func(ctx context.Context) error
}

// Without takes the first API server out of every host, calls try, and puts it back
// whatever becomes of that. The others get all clients meanwhile, so each of them has
// to be ready, and reached by each host.
func (t TakenOut) Without(ctx context.Context, h phases.Writer, try func(ctx context.Context, out bool) error) (err error) {
	if err := OthersReady(ctx, h.Reader); err != nil {
		return err
	}
	each := func(do func(cluster.Host) error) error {
		for _, lb := range h.Spec().LoadBalancer.Hosts {
			if err := do(lb); err != nil {
				return err
			}
		}
		return nil
	}
	err = each(func(lb cluster.Host) error {
		rest, err := t.Rest(ctx, lb.Name)
		if err != nil {
			return err
		}
		if err := EveryoneAnswers(ctx, h.On(lb.Name), rest); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.First().Name, lb.Name, err)
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
		err = errors.Join(err, t.Back(back))
	}()
	if err := each(func(lb cluster.Host) error { return t.Out(ctx, lb.Name) }); err != nil {
		return err
	}
	// The workers of before a reload serve no new connection, and end
	// some tenths of a second later. Nothing else is waited for: an endpoint that
	// does not answer now ends the proof, and the first API server is put back.
	return phases.Await(ctx, h.Reader, goneWithin, func(ctx context.Context) error { return try(ctx, true) })
}
