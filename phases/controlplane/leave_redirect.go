package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/redirect"
)

// leavingTable holds the redirect of a node that leaves. It leads to another
// host, so the answers must come back this way: hence the masquerade.
func leavingTable() redirect.Table {
	return redirect.Table{Name: "migrate_leaving", Title: "the redirect of the leaving node", Masquerade: true}
}

// leaving sends new connections for the API server of a node that leaves to
// the one of a node that stays: those that arrive, for as long as some
// kube-proxy still knows its address, and those that the node opens itself.
type leaving struct {
	from apiserver.Front
	to   string // host:port of the API server that stays
}

// redirectLeaving sends new connections for the API server of the target to the
// one of node to, which stays, and proves it along every path that clients
// take. Where it can't be proven, it is taken away again, and the error says
// which path it was. Done twice it is done once.
func redirectLeaving(ctx context.Context, h phases.Writer, to string) error {
	from, err := apiserver.FrontOf(ctx, h.Reader, h.Target())
	if err != nil {
		return err
	}
	stays, err := h.APIAddress(ctx, to)
	if err != nil {
		return err
	}
	if stays == from.Address {
		return fmt.Errorf("redirecting the clients of %s to itself", to)
	}
	l := leaving{from: from, to: stays}
	host := h.On(h.Target())
	r := redirect.Redirect{Table: leavingTable(), From: []string{from.Address, from.Service}, To: stays}
	if err := r.Add(ctx, host); err != nil {
		return fmt.Errorf("redirecting %s to %s: %w", from.Address, stays, err)
	}
	err = phases.Await(ctx, h.Reader, 20*time.Second, func(ctx context.Context) error { return l.proven(ctx, h.Reader, to) })
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(fmt.Errorf("not every path for the API server of %s leads to the one of %s, so the redirect is taken away again: %w", h.Target(), to, err),
			endRedirectLeaving(undo, host))
	}
	return nil
}

// proven asks along every path who answers: at the address that leaves it must
// be the API server that stays, and at the Service none but the one that
// leaves. One that answers no more has no clients to lose.
func (l leaving) proven(ctx context.Context, v phases.Reader, to string) error {
	cfg, err := v.AdminConfigOn(ctx, to)
	if err != nil {
		return err
	}
	own, err := v.APIAddress(ctx, to)
	if err != nil {
		return err
	}
	identify, stays, err := apiserver.Identify(ctx, cfg, own)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(l.to)
	if err != nil {
		return err
	}
	leaves, err := l.identity(ctx, v, identify)
	if err != nil {
		return err
	}
	paths, err := apiserver.Paths(ctx, v, v.Target())
	if err != nil {
		return err
	}
	return apiserver.Expect{
		Node:     to,
		Identify: identify,
		May: func(p apiserver.Path, identity string) bool {
			return identity != leaves && (identity == stays || p.Address != l.from.Address)
		},
		ServerName: func(p apiserver.Path) string {
			if p.Address == l.from.Address {
				return host // the certificate of the one that answers
			}
			return ""
		},
	}.OnEach(ctx, v, paths)
}

// identity says which the API server is that leaves, "" for one that does not
// answer.
func (l leaving) identity(ctx context.Context, v phases.Reader, identify apiserver.Identifier) (string, error) {
	cfg, err := apiserver.Config(ctx, v, v.Target())
	if err != nil {
		return "", err
	}
	is, err := identify(ctx, cfg)
	if err != nil {
		return "", nil // it does not answer, which is an answer here
	}
	return is, nil
}

// endRedirectLeaving removes what redirectLeaving has set up on a host; where
// there is nothing, it changes nothing.
func endRedirectLeaving(ctx context.Context, h remote.Host) error {
	is, err := leavingTable().Loaded(ctx, h)
	if err != nil || !is {
		return err
	}
	return leavingTable().Remove(ctx, h)
}
