package remotetest

import (
	"context"
	"errors"
	"fmt"

	"hamigrate/migrate/remote"
)

// detached is a command that runs apart from the connection.
type detached struct {
	ended chan struct{}
	out   string // what follows is set when ended is closed
	err   error
}

// runDetached plays a command that no cut connection reaches: it is started
// once, and its end is come back for. The operator's program may crash in it.
func (f *Fake) runDetached(ctx context.Context, c remote.Command) (string, error) {
	if err := remote.DetachName(c.Detach); err != nil {
		return "", err
	}
	if err := f.reading(ctx); err != nil {
		return "", err
	}
	if f.stillRuns(c.Detach) != nil {
		if err := f.AwaitDetached(ctx); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: `%s` of an earlier run was still at it", remote.ErrUnknownOutcome, c.Detach)
	}
	var d *detached
	follow := func() error {
		if d == nil {
			d = f.detach(ctx, c)
		}
		select {
		case <-d.ended:
			return d.err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", remote.ErrUnknownOutcome, context.Cause(ctx))
		}
	}
	err := f.do(ctx, "run "+c.Script, follow)
	if errors.Is(err, ErrCut) {
		err = follow()
	}
	if err != nil && (d == nil || !errors.Is(err, d.err)) {
		return "", err
	}
	return d.out, err
}

// detach starts a command.
func (f *Fake) detach(ctx context.Context, c remote.Command) *detached {
	d := &detached{ended: make(chan struct{})}
	f.mu.Lock()
	f.detached[c.Detach] = d
	f.mu.Unlock()
	go func() {
		d.out, d.err = f.play(context.WithoutCancel(ctx), c)
		f.mu.Lock()
		delete(f.detached, c.Detach)
		f.mu.Unlock()
		close(d.ended)
	}()
	return d
}

func (f *Fake) stillRuns(name string) *detached {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.detached[name]
}

// AwaitDetached implements remote.Host.
func (f *Fake) AwaitDetached(ctx context.Context) error {
	if err := f.reading(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	var running []*detached
	for _, d := range f.detached {
		running = append(running, d)
	}
	f.mu.Unlock()
	for _, d := range running {
		select {
		case <-d.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
