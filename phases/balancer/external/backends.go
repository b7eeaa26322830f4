package external

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

const (
	// lookTries and goneTries are connections from each node: to see that an
	// API server is behind the endpoint, and that it is not any more. With
	// three backends and three nodes, sixty connections that all miss one by
	// chance are one in 10^10.
	lookTries = 6
	goneTries = 20
	// goneRounds is how often in a row it must not be met.
	goneRounds = 3
	// shownWithin is how long an API server that runs may take to show a
	// certificate: one that can't start runs for seconds at a time.
	shownWithin = 30 * time.Second
)

// backends are seen by the certificates that new connections to the endpoint meet.
type backends struct{}

// ownCertificate is what the target's API server shows on its own address.
func ownCertificate(ctx context.Context, v phases.Reader) (address string, cert *x509.Certificate, err error) {
	if address, err = v.APIAddress(ctx, v.Target()); err != nil {
		return "", nil, err
	}
	cert, err = kube.ServedCertificate(ctx, v.On(v.Target()).DialContext, address, nil)
	return address, cert, err
}

// toLeave is ownCertificate where an API server is about to end; nil: none runs
// there. A connection that fails proves nothing: clients may come through a
// load balancer all the same. Only where there is no process nobody is answered.
func toLeave(ctx context.Context, v phases.Reader) (address string, cert *x509.Certificate, err error) {
	err = phases.Await(ctx, v, shownWithin, func(ctx context.Context) error {
		var shown error
		if address, cert, shown = ownCertificate(ctx, v); shown == nil {
			return nil
		}
		list, err := process.Find(ctx, v.On(v.Target()), "kube-apiserver")
		if err == nil && len(list) == 0 && address != "" {
			return nil
		}
		return errors.Join(shown, err)
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("seeing whether clients are sent to the API server of %s, which runs or can't be looked for: fix it or stop it: %w", v.Target(), err)
	}
	return address, cert, err
}

// Check looks at who answers new connections to the endpoint.
func (backends) Check(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	address, cert, err := ownCertificate(ctx, v)
	if address == "" {
		return migrate.Finding{}, err
	}
	before := migrate.Before{"endpoint": v.EndpointAddress(), "address": address}
	wanted := fmt.Sprintf("the load balancer's backends must get %s (%s)", address, HealthCheck)
	if err != nil { // it has not joined yet
		return phases.Need(before, "%s", wanted), nil
	}
	there, err := balancer.Serves(ctx, v, cert, lookTries)
	switch {
	case there:
		return phases.Done("%s answers new connections to %s", address, v.EndpointAddress()), nil
	case err != nil:
		return migrate.Finding{}, err
	}
	return phases.Need(before, "no new connection to %s is answered by %s: %s", v.EndpointAddress(), address, wanted), nil
}

// Add tells the operator what to add, and waits until it serves.
func (backends) Add(ctx context.Context, h phases.Writer) error {
	address, cert, err := ownCertificate(ctx, h.Reader)
	if err != nil {
		return err
	}
	if there, err := balancer.Serves(ctx, h.Reader, cert, lookTries); err != nil || there {
		return err
	}
	h.Ask(fmt.Sprintf("Add %s to the backends of %s now: %s. This waits, at most %s, until new connections to the endpoint are answered by it.",
		address, h.EndpointAddress(), HealthCheck, h.AskWait()))
	err = phases.AwaitOrStop(ctx, h.Reader, h.AskWait(), func(ctx context.Context) error {
		there, err := balancer.Serves(ctx, h.Reader, cert, lookTries)
		if err == nil && !there {
			err = fmt.Errorf("no new connection to %s is answered by %s", h.EndpointAddress(), address)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("waiting for %s among the load balancer's backends (%s); add it and run again, --wait-backend waits longer: %w", address, HealthCheck, err)
	}
	return err
}

// Remove tells the operator what to take out, and waits until no new
// connection meets it: only then may the API server end.
func (backends) Remove(ctx context.Context, h phases.Writer) error {
	address, cert, err := toLeave(ctx, h.Reader)
	if err != nil {
		return err
	}
	if cert == nil {
		h.Ask(fmt.Sprintf("Take %s out of the backends of %s, and leave the others. No API server runs on %s, so it can't be seen whether it is among them; this does not wait.",
			address, h.EndpointAddress(), h.Target()))
		return nil
	}
	gone := func(ctx context.Context) error {
		there, err := balancer.Serves(ctx, h.Reader, cert, goneTries)
		if err == nil && there {
			err = fmt.Errorf("new connections to %s are still answered by %s", h.EndpointAddress(), address)
		}
		return err
	}
	if gone(ctx) != nil {
		h.Ask(fmt.Sprintf("Take %s out of the backends of %s now, and leave the others. This waits, at most %s, until no new connection to the endpoint is answered by it.",
			address, h.EndpointAddress(), h.AskWait()))
	}
	missed := 0
	err = phases.AwaitOrStop(ctx, h.Reader, h.AskWait(), func(ctx context.Context) error {
		if err := gone(ctx); err != nil {
			missed = 0
			return err
		}
		if missed++; missed < goneRounds {
			return fmt.Errorf("%s was not met in %d of %d looks", address, missed, goneRounds)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("waiting for %s to leave the load balancer's backends; take it out and run again, --wait-backend waits longer: %w", address, err)
	}
	return err
}

// Removed refuses to end an API server that clients are sent to.
func (backends) Removed(ctx context.Context, v phases.Reader) error {
	address, cert, err := toLeave(ctx, v)
	if err != nil || cert == nil {
		return err
	}
	there, err := balancer.Serves(ctx, v, cert, goneTries)
	if err == nil && there {
		// Its step may be undone by the journal: no run asks for it again then.
		err = fmt.Errorf("%s still sends clients to %s: take that out of the load balancer's backends, and roll back again", v.EndpointAddress(), address)
	}
	return err
}

// Reached is not asked of a host on which nobody logs in: Check has met the API
// server through it.
func (backends) Reached(context.Context, phases.Reader) error { return nil }
