package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// The way back, should the restart or one of the steps before it fail, and the
// end of the one from a restart that is done: the same order backward. Each step refuses where the one after it is not taken
// back, because clients would find out.

const (
	// podEnd is the kubelet's time to stop a pod: it looks into the manifests
	// folder, and the API server's watches are cut by the second signal, or after
	// terminationGracePeriodSeconds (30 s).
	podEnd = 90 * time.Second
	// leaseRenewal is more than the 10 s between two renewals of an API
	// server's lease (pkg/controlplane/reconcilers/lease.go).
	leaseRenewal = 30 * time.Second
)

// twinProcess is the process of the second API server, ready or not; runs is
// false where there is none.
func twinProcess(ctx context.Context, v phases.View) (p phases.Process, runs bool, err error) {
	list, err := phases.Processes(ctx, v.On(v.Target()), "kube-apiserver")
	i := slices.IndexFunc(list, func(p phases.Process) bool {
		port, _ := p.Flags.Get("secure-port")
		return port == strconv.Itoa(TwinPort)
	})
	if err != nil || i < 0 {
		return phases.Process{}, false, err
	}
	return list[i], true, nil
}

// twinRuns says whether a process of the second API server runs, ready or not.
func twinRuns(ctx context.Context, v phases.View) (bool, error) {
	_, runs, err := twinProcess(ctx, v)
	return runs, err
}

// twinHas is the error that no process of the second API server runs with
// these arguments.
func twinHas(ctx context.Context, v phases.View, flags map[string]string) error {
	p, runs, err := twinProcess(ctx, v)
	if err != nil {
		return err
	}
	if !runs {
		return fmt.Errorf("no second API server runs on %s", v.Target())
	}
	for name, want := range flags {
		if have, _ := p.Flags.Get(name); have != want {
			return fmt.Errorf("the second API server on %s runs with --%s=%s", v.Target(), name, have)
		}
	}
	return nil
}

// twinGone is the error that the second API server still runs.
func twinGone(ctx context.Context, v phases.View) error {
	runs, err := twinRuns(ctx, v)
	if err == nil && runs {
		err = fmt.Errorf("the second API server still runs on %s", v.Target())
	}
	return err
}

// undoTwin waits for the end of the process: one that is on its way out still
// has the port and answers for a moment, which the next attempt would take
// for a new one.
func undoTwin(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	if is, err := Redirected(ctx, host); err != nil || is {
		return errors.Join(err, errors.New("connections are still redirected to the second API server"))
	}
	if err := signalTwin(ctx, h); err != nil {
		return err
	}
	if err := host.Remove(ctx, TwinManifest); err != nil {
		return err
	}
	if err := awaitTwinEnd(ctx, h); err != nil {
		return err
	}
	return forgetCheck(ctx, h)
}

// forgetCheck deletes what a program left that was killed between writing
// through the second API server and taking it away again.
func forgetCheck(ctx context.Context, h phases.Hands) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	return k.DeleteConfigMap(ctx, "kube-system", checkName)
}

// undoStandIn leaves the endpoints to the real API server's lease, when that
// is there: without both they would be emptied.
func undoStandIn(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	_, there, err := e.Get(ctx, standInKey)
	if err != nil || !there {
		return err
	}
	err = phases.Await(ctx, h.View, leaseRenewal, func(ctx context.Context) error {
		if _, there, err := e.Get(ctx, leaseKey(h.First().Address)); err != nil || !there {
			return errors.Join(err, errors.New("the lease is not there"))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the lease that the API server of %s holds for the kubernetes endpoints: %w", h.First().Name, err)
	}
	return e.Delete(ctx, standInKey)
}

// undoRedirect gives the clients back to the real API server when that
// answers.
func undoRedirect(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	is, err := Redirected(ctx, host)
	if err != nil {
		return err
	}
	if !is {
		return nil
	}
	if err := apiserver.Readyz(ctx, h.View, h.Target()); err != nil {
		return fmt.Errorf("the API server on %s is not ready, so the redirect stays and the second one goes on carrying the clients: %w", h.Target(), err)
	}
	return table().Remove(ctx, host)
}

// awaitTwinEnd is AwaitEnd for the second API server.
func awaitTwinEnd(ctx context.Context, h phases.Hands) error {
	address, err := twinAddress(ctx, h.View)
	if err != nil {
		return err
	}
	return apiserver.AwaitEnd(ctx, h, address, podEnd, func(ctx context.Context) error { return twinGone(ctx, h.View) })
}

// twinAddress is where the second API server answers, as host:port.
func twinAddress(ctx context.Context, v phases.View) (string, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(address)
	return net.JoinHostPort(host, strconv.Itoa(TwinPort)), err
}

// signalTwin is apiserver.Stop for the second API server, right before its manifest
// is removed. Where that is gone, the kubelet has signalled it already.
func signalTwin(ctx context.Context, h phases.Hands) error {
	if there, err := twinThere(ctx, h.On(h.Target())); err != nil || !there {
		return err
	}
	address, err := twinAddress(ctx, h.View)
	if err != nil {
		return err
	}
	p, runs, err := twinProcess(ctx, h.View)
	if err != nil || !runs {
		return err
	}
	return apiserver.StopProcess(ctx, h, address, p)
}
