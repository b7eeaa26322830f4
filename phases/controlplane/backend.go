package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/loadbalancer"
)

const backendID = "controlplane/backend"

// backend adds the joined API server to every load balancer.
func backend() phases.Step {
	return phases.Step{
		ID:      backendID,
		Title:   "Add the node's API server to the load balancer",
		Why:     "nginx can't see /readyz, so it gets an API server only when that is ready.",
		On:      migrate.JoiningControlPlanes,
		Rolling: true,
		Needs:   []migrate.StepID{joinID},
		ByHand:  "```\ncurl -k https://{{.Address}}:6443/readyz    # 200 first\n# add `server {{.Address}}:6443 max_fails=1 fail_timeout=5s;` to the upstream\nnginx -t && systemctl reload nginx\n```\n",
		Check:   checkBackend,
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			cfg, err := h.AdminConfigOn(ctx, h.Target())
			if err != nil {
				return err
			}
			if err := kube.Readyz(ctx, cfg); err != nil {
				return err
			}
			if loadbalancer.External(h.View) {
				return addExternal(ctx, h)
			}
			address, err := h.APIAddress(ctx, h.Target())
			if err != nil {
				return err
			}
			for _, lb := range h.Spec().LoadBalancer.Hosts {
				host := h.On(lb.Name)
				list, err := loadbalancer.PresentBackends(ctx, host, h.View)
				if err != nil {
					return err
				}
				if err := loadbalancer.Configure(ctx, host, h.View, loadbalancer.WithBackend(list, address)); err != nil {
					return err
				}
			}
			return nil
		},
		Verify: verifyBackend,
		Undo:   undoBackend,
		Settle: 30 * time.Second, WaitsFor: "the load balancer",
	}
}

func checkBackend(ctx context.Context, v phases.View) (migrate.Finding, error) {
	if loadbalancer.External(v) {
		return checkExternal(ctx, v)
	}
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return migrate.Finding{}, err
	}
	before := migrate.Before{}
	var changes []migrate.Change
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		list, loaded, err := loadbalancer.Forwarding(ctx, v.On(lb.Name), v)
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
		list = loadbalancer.WithBackend(list, first)
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

// undoBackend takes the API server out of each load balancer and leaves the
// other lines as they are now. nginx then sends no new connection there. Those
// that are open stay: kubelets and controllers keep theirs for days, so there
// is no end to wait for, and nginx can only cut them. Their clients are asked
// to leave by the API server itself when it stops in order (HTTP/2 GOAWAY,
// watches ended), which the way back of the join lets it do.
func undoBackend(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	if loadbalancer.External(h.View) {
		return removeExternal(ctx, h)
	}
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	for _, lb := range h.Spec().LoadBalancer.Hosts {
		host := h.On(lb.Name)
		list, loaded, err := loadbalancer.Forwarding(ctx, host, h.View)
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == address })
		if len(rest) == len(list) && (loaded || len(list) == 0) {
			continue
		}
		if err := someoneAnswers(ctx, host, rest); err != nil {
			return fmt.Errorf("the API server of %s stays behind %s: %w", h.Target(), lb.Name, err)
		}
		if err := loadbalancer.Configure(ctx, host, h.View, rest); err != nil {
			return err
		}
	}
	return nil
}

// someoneAnswers wants an API server besides the one that leaves.
func someoneAnswers(ctx context.Context, lb remote.Reader, backends []string) error {
	err := errors.New("there is no other one")
	for _, b := range backends {
		if _, err = kube.ServedCertificate(ctx, lb.DialContext, b, nil); err == nil {
			return nil
		}
	}
	return err
}

// verifyBackend wants the line in each load balancer's file, the load
// balancer's own way to the API server, and the endpoint answering from every
// node as before.
func verifyBackend(ctx context.Context, v phases.View) error {
	f, err := checkBackend(ctx, v)
	if err != nil {
		return err
	}
	if f.Verdict != migrate.Satisfied {
		return fmt.Errorf("%s", f.Reason)
	}
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		if _, err := kube.ServedCertificate(ctx, v.On(lb.Name).DialContext, address, nil); err != nil {
			return fmt.Errorf("reaching the API server of %s from %s: %w", v.Target(), lb.Name, err)
		}
	}
	return loadbalancer.VerifyEndpoint(ctx, v)
}
