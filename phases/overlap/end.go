package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// end removes the temporary API server and its lease.
func (r Restart) end() phases.Step {
	return phases.Step{
		ID:     r.id("overlap-end"),
		Title:  "Stop the second API server",
		Why:    "The real one does the work; its own lease fills the kubernetes endpoints.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{r.id("overlap-back")},
		ByHand: "```\nrm " + ManifestPath + "    # after some seconds, for connections that are on their way\netcdctl del " + temporaryLease + "\n```\n",
		Check: r.teardown(func(ctx context.Context, v phases.Reader) (bool, error) {
			there, err := temporaryThere(ctx, v.On(v.Target()))
			if err != nil || there {
				return there, err
			}
			e, err := v.Etcd(ctx)
			if err != nil {
				return false, err
			}
			_, there, err = e.Get(ctx, temporaryLease)
			return there, err
		}, "the second API server runs"),
		Apply:  applyEnd,
		Verify: verifyEnd,
		Undo:   r.undoEnd,
		Settle: 2 * time.Minute, WaitsFor: "kubelet",
	}
}

func applyEnd(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	if is, err := Redirected(ctx, host); err != nil || is {
		return errors.Join(err, errors.New("connections are still redirected to the second API server"))
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	// The real one renews its lease every 10 s; without it the endpoints
	// would be emptied with the temporary lease.
	if _, there, err := e.Get(ctx, apiserver.LeaseKey(h.First().Address)); err != nil || !there {
		return errors.Join(err, fmt.Errorf("the API server of %s holds no lease for the kubernetes endpoints yet: run again in some seconds", h.First().Name))
	}
	if err := e.Delete(ctx, temporaryLease); err != nil {
		return err
	}
	// An undo that was killed and is now undone itself left it; the temporary API
	// server goes last, since it is what this step is found by. Where an attempt before
	// was cut after it had told that server to stop, a kept connection may still lead to
	// it: it refuses, and goes, and the next connection leads to the real one.
	if err := phases.Await(ctx, h.Reader, time.Minute, func(ctx context.Context) error { return forgetCheck(ctx, h) }); err != nil {
		return err
	}
	if err := stopTemporary(ctx, h); err != nil {
		return err
	}
	if err := host.Remove(ctx, ManifestPath); err != nil {
		return err
	}
	return apiserver.IgnoreTimeout(ctx, awaitTemporaryEnd(ctx, h))
}

func verifyEnd(ctx context.Context, v phases.Reader) error {
	if err := temporaryGone(ctx, v); err != nil {
		return err
	}
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	filled, err := k.EndpointAddresses(ctx, "default", "kubernetes")
	if err != nil {
		return err
	}
	if !slices.Contains(filled, host) {
		return fmt.Errorf("the kubernetes endpoints lack %s: %s", host, strings.Join(filled, ", "))
	}
	return nil
}

// undoEnd brings the temporary API server back, with the former arguments, and
// then the temporary lease. One that is ready already was not taken away.
func (r Restart) undoEnd(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	ready, err := temporaryReady(ctx, h.Reader)
	if err != nil {
		return err
	}
	if !ready {
		if err := r.startPrevious(ctx, h); err != nil {
			return err
		}
	}
	return fillEndpoints(ctx, h)
}
