package overlap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// The way back from a restart that is done. It needs one more restart, so the
// second API server, the second lease and the redirect come again, each by the
// undoing of the step that took it away.

// twinStart is kubeadm's own wait for a control plane.
const twinStart = 4 * time.Minute

// undoEnd brings the second API server back, with the former arguments, and
// then the second lease. One that is ready already was not taken away.
func (r Restart) undoEnd(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	ready, err := twinReady(ctx, h.View, h.Target())
	if err != nil {
		return err
	}
	if !ready {
		if err := r.formerTwin(ctx, h); err != nil {
			return err
		}
	}
	return fillEndpoints(ctx, h)
}

// undoBack sends new connections to the second API server again. Where the
// way there was cut before its end, that has the new arguments still: they
// prove nothing for the way back, so it is made anew.
func (r Restart) undoBack(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	is, err := Redirected(ctx, h.On(h.Target()))
	if err != nil {
		return err
	}
	if !is {
		if err := r.formerTwin(ctx, h); err != nil {
			return err
		}
	}
	// The lease of a way back that was begun and left alone may have ended.
	if err := fillEndpoints(ctx, h); err != nil {
		return err
	}
	return applyRedirect(ctx, h, nil)
}

// formerTwin starts a second API server with the former arguments and proves
// that it serves what the real one serves. Where it does not, it is taken away
// again: nothing leads to it yet.
func (r Restart) formerTwin(ctx context.Context, h phases.Hands) error {
	flags, err := r.Former(ctx, h.View)
	if err != nil {
		return fmt.Errorf("the API server on %s can't have its former arguments: %w", h.Target(), err)
	}
	block, err := noRoom(ctx, h.View)
	if err != nil {
		return err
	}
	if block.Verdict == migrate.Blocked {
		return fmt.Errorf("%s; %s", block.Reason, block.Remedy)
	}
	twin, err := makeTwin(ctx, h.View, h.Target(), flags)
	if err != nil {
		return err
	}
	if err := placeTwin(ctx, h, twin); err != nil {
		return err
	}
	err = phases.Await(ctx, h.View, twinStart, func(ctx context.Context) error {
		if err := twinHas(ctx, h.View, flags); err != nil {
			return err
		}
		cfg, err := twinConfig(ctx, h.View, h.Target())
		if err != nil {
			return err
		}
		return kube.Readyz(ctx, cfg)
	})
	if err == nil {
		err = oneStore(ctx, h.View)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return errors.Join(fmt.Errorf("a second API server on %s does not work with the former arguments, so it is taken away again and the real one is left as it is: %w", h.Target(), err),
		undoTwin(ctx, h, nil))
}

// oneStore proves that what is written through the second API server is there
// for the real one.
func oneStore(ctx context.Context, v phases.View) error {
	twin, err := twinConfig(ctx, v, v.Target())
	if err != nil {
		return err
	}
	real, err := apiserver.Config(ctx, v, v.Target())
	if err != nil {
		return err
	}
	return kube.WriteAndReadThere(ctx, twin, real, checkName)
}
