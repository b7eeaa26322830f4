package haproxy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// backends are the API servers in each host's file and running process.
type backends struct{}

// Check is satisfied where each host passes connections to it, now and after a
// restart.
func (backends) Check(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return migrate.Finding{}, err
	}
	before := migrate.Before{}
	var changes []migrate.Change
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		h, err := look(ctx, v.On(lb.Name))
		if err != nil {
			return migrate.Finding{}, err
		}
		now, next := h.passes(address)
		if now && next {
			continue
		}
		c, err := wanted(ctx, v, h.servers) // in the plan of the whole migration phase 1 will have written it
		if err != nil {
			return migrate.Finding{}, err
		}
		before[lb.Name] = strings.Join(on(h.servers), ",")
		list := func(s []Server) string { return strings.Join(append(on(s), ""), "\n") }
		changes = append(changes, migrate.Change{Object: lb.Name + ": API servers behind the endpoint", Before: list(with(c.Servers, address, false)), After: list(with(c.Servers, address, true))})
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

// Add switches it on everywhere.
func (backends) Add(ctx context.Context, h phases.Writer) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	return onEach(ctx, h, func(to remote.Host, now host, c Config) error {
		c.Servers = with(c.Servers, address, true)
		return configure(ctx, to, h.Reader, now, c)
	})
}

// Remove switches it off everywhere. HAProxy then sends no new connection there, and
// does not check it any more. Connections that are open stay: their clients are asked
// to leave by the API server itself when it stops in order.
func (backends) Remove(ctx context.Context, h phases.Writer) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	return onEach(ctx, h, func(to remote.Host, now host, c Config) error {
		nowPasses, next := now.passes(address)
		if now.file == "" || !nowPasses && !next {
			return nil
		}
		c.Servers = with(c.Servers, address, false)
		rest := slices.DeleteFunc(on(now.servers), func(s string) bool { return s == address })
		if err := balancer.SomeoneAnswers(ctx, to, rest); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.Target(), to.Name(), err)
		}
		return configure(ctx, to, h.Reader, now, c)
	})
}

// onEach looks at each host and does what is to be done there.
func onEach(ctx context.Context, h phases.Writer, do func(remote.Host, host, Config) error) error {
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		to := h.On(lb.Name)
		now, err := look(ctx, to)
		if err != nil {
			return err
		}
		c, err := wanted(ctx, h.Reader, now.servers)
		if err != nil {
			return err
		}
		if err := do(to, now, c); err != nil {
			return err
		}
	}
	return nil
}

// Removed looks into each host's file and running process.
func (backends) Removed(ctx context.Context, v phases.Reader) error {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		h, err := look(ctx, v.On(lb.Name))
		if err != nil {
			return err
		}
		now, next := h.passes(address)
		if now || next || !h.running.answers && h.file != "" {
			return fmt.Errorf("%s forwards to the API server of %s, or does not say: undo %s first", lb.Name, v.Target(), balancer.BackendID)
		}
	}
	return nil
}

// forwards is what the target's file says.
func forwards(ctx context.Context, v phases.Reader) (balancer.Forwards, error) {
	h, err := look(ctx, v.On(v.Target()))
	f := balancer.Forwards{Backends: on(h.servers)}
	switch {
	case len(f.Backends) == 0:
	case !h.running.answers:
		f.Stale = "the HAProxy of " + Unit + " does not run"
	case h.running.description != (Config{Port: v.Spec().Endpoint.Port, Servers: h.servers}).description():
		f.Stale = "HAProxy has not loaded its file since that was written"
	case !slices.Equal(on(h.running.servers), f.Backends):
		f.Stale = "HAProxy passes connections to " + strings.Join(on(h.running.servers), ", ") + " now: somebody has switched them by its socket"
	}
	return f, err
}

// begun says whether any host may have our file.
func begun(ctx context.Context, v phases.Reader) (bool, error) {
	return balancer.BegunOn(ctx, v, func(ctx context.Context, r remote.Reader) (bool, error) {
		text, err := readText(ctx, r, configFile)
		return text != "", err
	})
}
