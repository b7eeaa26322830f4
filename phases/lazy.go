package phases

import (
	"context"
	"fmt"
	"io"
	"net"

	"hamigrate/migrate/remote"
)

// lazyHost is a host that is connected to when it is first used, so that a
// step can name a host without a connection and an error of its own.
type lazyHost struct {
	world *Access
	name  string
}

var (
	_ remote.Host     = lazyHost{}
	_ remote.Streamer = lazyHost{}
	_ remote.Limited  = lazyHost{}
)

func (l lazyHost) dial(ctx context.Context) (remote.Host, error) {
	h, err := l.world.host(l.name)
	if err != nil {
		return nil, err
	}
	return l.world.hosts.Host(ctx, h)
}

// Reach logs in to a host. It comes before whatever has a deadline: a login
// may ask for a password, and nobody types against a clock. How long the host
// itself may take is bounded by ssh.timeout.
func (w *Access) Reach(ctx context.Context, name string) error {
	_, err := lazyHost{w, name}.dial(ctx)
	return err
}

// MayChange is a *remote.LooksOnlyError where the login to a host may only
// look.
func (w *Access) MayChange(ctx context.Context, name string) error {
	return lazyHost{w, name}.MayChange(ctx)
}

func (l lazyHost) MayChange(ctx context.Context) error {
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	if limited, ok := h.(remote.Limited); ok {
		return limited.MayChange(ctx)
	}
	return nil
}

func (l lazyHost) Name() string { return l.name }

func (l lazyHost) ReadFile(ctx context.Context, path string) (remote.File, error) {
	h, err := l.dial(ctx)
	if err != nil {
		return remote.File{}, err
	}
	return h.ReadFile(ctx, path)
}

func (l lazyHost) List(ctx context.Context, dir string) ([]string, error) {
	h, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	return h.List(ctx, dir)
}

func (l lazyHost) Look(ctx context.Context, c remote.Command) (string, error) {
	h, err := l.dial(ctx)
	if err != nil {
		return "", err
	}
	return l.timed(ctx, c, h.Look)
}

func (l lazyHost) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	h, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	return h.DialContext(ctx, network, address)
}

func (l lazyHost) Open(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	h, err := l.dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	s, ok := h.(remote.Streamer)
	if !ok {
		return nil, 0, fmt.Errorf("opening %s:%s: the connection cannot stream", l.name, path)
	}
	return s.Open(ctx, path)
}

func (l lazyHost) Run(ctx context.Context, c remote.Command) (string, error) {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return "", err
	}
	return l.timed(ctx, c, h.Run)
}

func (l lazyHost) AwaitDetached(ctx context.Context) error {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer l.world.Waiting()()
	return h.AwaitDetached(ctx)
}

func (l lazyHost) WriteFile(ctx context.Context, f remote.File) error {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	return h.WriteFile(ctx, f)
}

func (l lazyHost) Copy(ctx context.Context, from remote.Reader, path string, to remote.File) error {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	return h.Copy(ctx, from, path, to)
}

func (l lazyHost) Rename(ctx context.Context, from, to string) error {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	return h.Rename(ctx, from, to)
}

func (l lazyHost) Remove(ctx context.Context, path string) error {
	ctx = remote.Changing(ctx)
	h, err := l.dial(ctx)
	if err != nil {
		return err
	}
	return h.Remove(ctx, path)
}
