package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

// The Lease's times. A holder that did not renew for leaseLasts is stale. It
// is longer than the API is away in the worst restart in place, and nobody
// can take a Lease while there is no API.
const (
	leaseLasts  = 60 * time.Second
	leaseRenew  = 10 * time.Second
	leaseTry    = 5 * time.Second
	leaseAtOnce = 3 // attempts to take it before a run goes on without
)

// operatorBlob is the journal's blob of who the operator is to the cluster.
const operatorBlob = "operator"

// operatorIdentity makes the journal the operator: a run that was killed is
// resumed with the same journal and takes its own Lease back at once.
type operatorIdentity struct {
	ID string `json:"id"`
}

// leases is what a hold needs of the cluster's API.
type leases interface {
	TakeOperator(ctx context.Context, me kube.Operator) (holder *kube.Operator, err error)
	RenewOperator(ctx context.Context, me kube.Operator) (mine bool, now *kube.Operator, err error)
	ReleaseOperator(ctx context.Context, me kube.Operator) error
}

// Lease is this run's holding of the cluster. It is advice to other operators
// and no safety: every step looks before it acts, whoever holds the Lease. So
// nothing that goes wrong with it, but another holder, stops a run.
type Lease struct {
	me   kube.Operator
	api  leases
	tell func(string)
	Lost chan struct{} // closed: somebody else has it, stop at the next safe point

	mu     sync.Mutex
	reason string

	cancel context.CancelFunc
	ended  chan struct{}
}

// Take takes the lease for me and renews it until Release. *HeldError: another operator has it.
// Where the API does not answer, it returns a lease that it goes on trying to take; tell is told so.
func Take(ctx context.Context, api leases, me kube.Operator, tell func(string)) (*Lease, error) {
	h := &Lease{me: me, api: api, tell: tell, Lost: make(chan struct{}), ended: make(chan struct{})}
	taken, err := false, error(nil)
	for range leaseAtOnce {
		if taken, err = h.take(ctx); taken || errors.As(err, new(*HeldError)) || ctx.Err() != nil {
			break
		}
	}
	if !taken && (errors.As(err, new(*HeldError)) || ctx.Err() != nil) {
		h.giveBack(ctx, err)
		return nil, err
	}
	if !taken {
		tell(fmt.Sprintf("going on without the Lease that keeps other operators away, and trying again: %v", err))
	}
	keeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	go h.keep(keeping, taken)
	return h, nil
}

// giveBack deletes the Lease where the try to take it was given up: the API server
// may have carried it out all the same, and would keep others away.
func (h *Lease) giveBack(ctx context.Context, err error) {
	if errors.As(err, new(*HeldError)) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTry)
	defer cancel()
	// That it fails where the API does not answer is no news, and the Lease runs out.
	_ = h.api.ReleaseOperator(ctx, h.me)
}

// take tries once.
func (h *Lease) take(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTry)
	defer cancel()
	h.me.Renewed = time.Now()
	holder, err := h.api.TakeOperator(ctx, h.me)
	if err != nil {
		return false, err
	}
	if holder != nil {
		return false, &HeldError{*holder, time.Now()}
	}
	return true, nil
}

// keep renews the Lease. The API may be away for a while: that is what the
// Lease's duration is for, and each attempt is a new one.
func (h *Lease) keep(ctx context.Context, taken bool) {
	defer close(h.ended)
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !taken {
			var held *HeldError
			var err error
			if taken, err = h.take(ctx); errors.As(err, &held) {
				h.lose(fmt.Sprintf("another operator is at work: %v", held))
				return
			}
			continue
		}
		if h.renew(ctx) {
			return
		}
	}
}

// renew tries once, and says whether the Lease is lost.
func (h *Lease) renew(ctx context.Context) (lost bool) {
	try, cancel := context.WithTimeout(ctx, leaseTry)
	defer cancel()
	h.me.Renewed = time.Now()
	mine, now, err := h.api.RenewOperator(try, h.me)
	switch {
	case err != nil || mine:
		return false
	case now == nil:
		h.lose("the Lease kube-system/hamigrate is gone: somebody took the cluster over while this run could not renew it, and has ended by now")
	case now.Free():
		h.lose(fmt.Sprintf("%s took the cluster away from this run (`migrate unlock`)", now.UnlockedBy))
	default:
		h.lose(fmt.Sprintf("%s took the cluster over from this run (`%s`, journal %s there, since %s UTC)",
			now.Who, now.Command, now.Journal, now.Since.UTC().Format(time.DateTime)))
	}
	return true
}

func (h *Lease) lose(reason string) {
	h.mu.Lock()
	h.reason = reason
	h.mu.Unlock()
	h.tell(reason + ". Stopping as soon as nothing is half done.")
	close(h.Lost)
}

// Explain says why a run was stopped, when it was the Lease that did it.
func (h *Lease) Explain(err error) error {
	if h == nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == "" {
		return err
	}
	if err == nil { // it was the phase's last step: the next phase has to wait
		err = migrate.ErrStopped
	}
	return fmt.Errorf("%s: %w", strings.TrimSuffix(h.reason, "."), err)
}

// Release gives the Lease back, also when ctx has ended: after Ctrl-C nobody else
// is to wait. One that can't be deleted now becomes stale.
func (h *Lease) Release(ctx context.Context) {
	h.cancel()
	<-h.ended
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTry)
	defer cancel()
	if err := h.api.ReleaseOperator(ctx, h.me); err != nil {
		h.tell(fmt.Sprintf("the Lease kube-system/hamigrate stays, and is stale in %s: %v", show.Seconds(leaseLasts), err))
	}
}

// HolderOf is who this run is.
func HolderOf(journal string, j *state.Journal, command string) (kube.Operator, error) {
	var id operatorIdentity
	known, err := j.GetBlob(operatorBlob, &id)
	if err != nil {
		return kube.Operator{}, err
	}
	if !known || id.ID == "" {
		id.ID = rand.Text()
		if err := j.PutBlob(operatorBlob, id); err != nil {
			return kube.Operator{}, err
		}
	}
	file, err := filepath.Abs(journal)
	if err != nil {
		file = journal
	}
	return kube.Operator{ID: id.ID, Run: rand.Text(), Who: state.WhoAmI(), Journal: file, Command: command, Since: time.Now(), Lasts: leaseLasts}, nil
}
