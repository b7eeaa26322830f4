package nginx

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// Ahead is what the steps for nginx would find on a load balancer's host.
type Ahead struct {
	Absent   bool // nginx is not there, or has no configuration
	File     string
	Listens  []int // ports that nginx's configuration listens on without us
	Tried    bool  // nginx has judged the new configuration, or has it already
	Findings []migrate.Finding
}

// LookAhead asks the steps that configure nginx what they would do.
func LookAhead(ctx context.Context, v phases.Reader) (Ahead, error) {
	var a Ahead
	l, err := findLayout(ctx, v.On(v.Target()), v.Spec().Endpoint.Port)
	if errors.Is(err, fs.ErrNotExist) {
		return Ahead{Absent: true}, nil
	}
	if err == nil {
		a.File, a.Listens = l.file, l.listens
	}
	connections, err := checkWorkerConnections(ctx, v)
	if err != nil {
		return Ahead{}, err
	}
	stream, tried, err := tryNginxStream(ctx, v)
	if err != nil {
		return Ahead{}, err
	}
	a.Findings, a.Tried = []migrate.Finding{connections, stream}, tried
	return a, nil
}

// begun says whether a load balancer's host may have our file: one that does not
// answer may. Without the file on any of them this phase was not begun, and what
// answers at the endpoint is something else.
func begun(ctx context.Context, v phases.Reader) (bool, error) {
	hosts := v.Spec().LoadBalancer.Hosts
	have := make([]bool, len(hosts))
	err := parallel.Each(hosts, func(i int, lb cluster.Host) error {
		r := v.On(lb.Name)
		list, err := PresentBackends(ctx, r, v)
		have[i] = len(list) > 0
		if errors.As(err, new(refusedError)) { // nginx does not say where it would be
			have[i], err = hostfiles.Confirms(ctx, r, remote.Command{Script: "[ -e " + StreamFile + " ] || [ -e " + ownFile + " ] || grep -rqsF '" + ownHeader + "' /etc/nginx"})
		}
		switch {
		case errors.As(err, new(streamBlockError)):
			return nil
		case err != nil && ctx.Err() == nil:
			have[i] = true
			return nil
		}
		return err
	})
	return slices.Contains(have, true), err
}
