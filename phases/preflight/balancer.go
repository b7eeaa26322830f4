package preflight

import (
	"context"
	"errors"

	"hamigrate/migrate/remote"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// balancerChecks are about the load balancer's hosts: what it will say of the
// configuration that phase 1 writes, and what its packages will do.
func balancerChecks() []Check {
	return []Check{
		{Number: 29, Name: "LoadBalancerConfig", Title: "The load balancer will take the configuration that passes the API through",
			Why:    "nginx has one stream block and loads what it is told to, HAProxy has to be new enough, and both listen where nobody else does; what they refuse would stop phase 1, and phase 3 when it adds an API server.",
			Remedy: "`nginx -t`, `nginx -T`, `haproxy -v` and `ss -ltnp` on the host show what they say, what nginx reads and who listens",
			On:     []Where{balancerHosts(1, 3)}, Look: balancerConfig},
		{Number: 30, Name: "LoadBalancerInstall", Title: "nginx or HAProxy is installed, or can be",
			Why:    "A package that can't be had, or stays half configured, leaves the host without a load balancer and its package manager stuck.",
			Remedy: "on the host: `dpkg --audit; dpkg --configure -a; apt-get update`, or install nginx with its stream module, or haproxy and socat, by hand",
			On:     []Where{balancerHosts(1)}, Look: balancerInstall},
	}
}

func balancerConfig(ctx context.Context, s Scene) ([]Finding, error) {
	o, err := balancers.Of(s.Spec()).Ahead.Configuration(ctx, s.Reader)
	if err != nil {
		return nil, err
	}
	var looksOnly *remote.LooksOnlyError
	if o.NotTried != "" && errors.As(s.Access().MayChange(ctx, s.Target()), &looksOnly) {
		f := notLooked(looksOnly)
		f.Seen += ", and so " + o.NotTried
		return append(expected(o.Found), f), nil
	}
	return outlook(o), nil
}

func balancerInstall(ctx context.Context, s Scene) ([]Finding, error) {
	o, err := balancers.Of(s.Spec()).Ahead.Installation(ctx, s.Reader)
	if err != nil {
		return nil, err
	}
	return outlook(o), nil
}

func outlook(o balancer.Outlook) []Finding {
	if len(o.Found) == 0 {
		return []Finding{fine("%s", o.Fine)}
	}
	return expected(o.Found)
}

func expected(list []balancer.Finding) []Finding {
	var out []Finding
	for _, f := range list {
		if f.Blocks {
			out = append(out, block(f.Remedy, "%s", f.Seen))
		} else {
			out = append(out, warn(f.Remedy, "%s", f.Seen))
		}
	}
	return out
}
