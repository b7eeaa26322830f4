package overlap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// startLimit is kubeadm's own wait for a control plane.
const startLimit = 4 * time.Minute

// startPrevious starts a temporary API server with the former arguments and proves
// that it serves what the real one serves. Where it does not, it is taken away
// again: nothing leads to it yet.
func (r Restart) startPrevious(ctx context.Context, h phases.Writer) error {
	flags, err := r.Former(ctx, h.Reader)
	if err != nil {
		return fmt.Errorf("the API server on %s can't have its former arguments: %w", h.Target(), err)
	}
	block, err := noRoom(ctx, h.Reader)
	if err != nil {
		return err
	}
	if block.Verdict == migrate.Blocked {
		return fmt.Errorf("%s; %s", block.Reason, block.Remedy)
	}
	manifest, err := makeManifest(ctx, h.Reader, h.Target(), flags)
	if err != nil {
		return err
	}
	if err := place(ctx, h, manifest); err != nil {
		return err
	}
	err = phases.Await(ctx, h.Reader, startLimit, func(ctx context.Context) error {
		if err := temporaryHas(ctx, h.Reader, flags); err != nil {
			return err
		}
		cfg, err := temporaryConfig(ctx, h.Reader)
		if err != nil {
			return err
		}
		return kube.Readyz(ctx, cfg)
	})
	if err == nil {
		err = oneStore(ctx, h.Reader)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return errors.Join(fmt.Errorf("a second API server on %s does not work with the former arguments, so it is taken away again and the real one is left as it is: %w", h.Target(), err),
		undoTemporary(ctx, h, nil))
}
