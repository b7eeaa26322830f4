package overlap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

const (
	// leaseTTL outlives the timer on the node and the restart after it, should
	// the operator's machine vanish.
	leaseTTL = 20 * time.Minute
	// leaseRenewal is more than the 10 s between two renewals of an API
	// server's lease (pkg/controlplane/reconcilers/lease.go).
	leaseRenewal = 30 * time.Second
)

// temporaryLease is the key of the temporary lease. The addresses are read from
// the leases' values, so its name can be nobody's address.
const temporaryLease = apiserver.Leases + "migrate-stand-in"

// endpoints keeps the kubernetes Service filled by a temporary lease.
func (r Restart) endpoints() phases.Step {
	return phases.Step{
		ID:    r.id("overlap-endpoints"),
		Title: "Keep the kubernetes endpoints filled",
		Why:   "A last API server that stops takes its address out of the kubernetes Service, and every other node then refuses connections to it.",
		On:    migrate.Once,
		Needs: []migrate.StepID{r.id("overlap-twin")},
		ByHand: "```\nLEASE=$($ETCDCTL lease grant 1200 | cut -d' ' -f2)\n" +
			"$ETCDCTL get " + apiserver.Leases + "{{.First.Address}} --print-value-only | head -c -1 > $HOME/lease\n" +
			"$ETCDCTL put --lease=$LEASE " + temporaryLease + " < $HOME/lease\n```\n",
		Check: r.setup(func(ctx context.Context, v phases.Reader) (bool, error) {
			e, err := v.Etcd(ctx)
			if err != nil {
				return false, err
			}
			_, there, err := e.Get(ctx, temporaryLease)
			return there, err
		}, "the endpoints depend on the real API server's lease alone"),
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error { return fillEndpoints(ctx, h) },
		Verify: func(ctx context.Context, v phases.Reader) error {
			e, err := v.Etcd(ctx)
			if err != nil {
				return err
			}
			if _, there, err := e.Get(ctx, temporaryLease); err != nil || !there {
				return errors.Join(err, errors.New("the second lease is not there"))
			}
			return nil
		},
		Undo: undoEndpoints, Group: r.StepGroup(),
		Settle: 20 * time.Second,
	}
}

// fillEndpoints writes the temporary lease, again if it is there.
func fillEndpoints(ctx context.Context, h phases.Writer) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	value, there, err := e.Get(ctx, apiserver.LeaseKey(h.First().Address))
	if err != nil {
		return err
	}
	if !there {
		// The real one is stopped already; the temporary lease holds the same bytes.
		value, there, err = e.Get(ctx, temporaryLease)
	}
	if err != nil || !there {
		return errors.Join(err, fmt.Errorf("the API server of %s holds no lease for the kubernetes endpoints", h.First().Name))
	}
	return e.PutFor(ctx, temporaryLease, value, leaseTTL)
}

// undoEndpoints leaves the endpoints to the real API server's lease, when that
// is there: without both they would be emptied.
func undoEndpoints(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	_, there, err := e.Get(ctx, temporaryLease)
	if err != nil || !there {
		return err
	}
	err = phases.Await(ctx, h.Reader, leaseRenewal, func(ctx context.Context) error {
		if _, there, err := e.Get(ctx, apiserver.LeaseKey(h.First().Address)); err != nil || !there {
			return errors.Join(err, errors.New("the lease is not there"))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the lease that the API server of %s holds for the kubernetes endpoints: %w", h.First().Name, err)
	}
	return e.Delete(ctx, temporaryLease)
}
