package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/redirect"
)

// awayName is the nft table, or the beginning of the names of the chains of
// iptables, that hold the redirect of a node that leaves.
const awayName = "migrate_leaving"

// away sends new connections for the API server of a node that leaves to the
// one of a node that stays: those that arrive, for as long as some kube-proxy
// still knows its address, and those that the node opens itself. Unlike
// redirect it leads to another host, so the answers must come back this way:
// hence the masquerade. Connections that exist are left alone, and so are
// those to 127.0.0.1.
type away struct {
	from    string // host:port of the API server that leaves
	service string // host:port of the kubernetes Service
	to      string // host:port of the API server that stays
}

func awayTable() redirect.Table {
	return redirect.Table{Name: awayName, Title: "the redirect of the leaving node", Masquerade: true}
}

// RedirectAway sends new connections for the API server of the target to the
// one of node to, which stays, and proves it along every path that clients
// take. Where it can't be proven, it is taken away again, and the error says
// which path it was. Done twice it is done once.
func RedirectAway(ctx context.Context, h phases.Hands, to string) error {
	real, err := wanted(ctx, h.View, h.Target())
	if err != nil {
		return err
	}
	stays, err := h.APIAddress(ctx, to)
	if err != nil {
		return err
	}
	if stays == real.address {
		return fmt.Errorf("redirecting the clients of %s to itself", to)
	}
	a := away{from: real.address, service: real.service, to: stays}
	host := h.On(h.Target())
	if err := a.add(ctx, host); err != nil {
		return err
	}
	err = phases.Await(ctx, h.View, 20*time.Second, func(ctx context.Context) error { return a.proven(ctx, h.View, to) })
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(fmt.Errorf("not every path for the API server of %s leads to the one of %s, so the redirect is taken away again: %w", h.Target(), to, err),
			EndRedirectAway(undo, host))
	}
	return nil
}

func (a away) add(ctx context.Context, h remote.Host) error {
	r := redirect.Redirect{Table: awayTable(), From: []string{a.from, a.service}, To: a.to}
	if err := r.Add(ctx, h); err != nil {
		return fmt.Errorf("redirecting %s to %s: %w", a.from, a.to, err)
	}
	return nil
}

// proven asks along every way who answers: at the address that leaves it must
// be the API server that stays, and at the Service none but the one that
// leaves. One that answers no more has no clients to lose.
func (a away) proven(ctx context.Context, v phases.View, to string) error {
	cfg, err := v.AdminConfigOn(ctx, to)
	if err != nil {
		return err
	}
	own, err := v.APIAddress(ctx, to)
	if err != nil {
		return err
	}
	tell, stays, err := tellApart(ctx, cfg, own)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(a.to)
	if err != nil {
		return err
	}
	leaves, err := a.leaving(ctx, v, tell)
	if err != nil {
		return err
	}
	list, err := ways(ctx, v, v.Target())
	if err != nil {
		return err
	}
	return everyWay(list, func(w way) error {
		cfg, err := v.AdminConfigOn(ctx, to)
		if err != nil {
			return err
		}
		cfg.Host, cfg.Dial = "https://"+w.address, w.dial(v)
		if w.address == a.from {
			cfg.ServerName = host // the certificate of the one that answers
		}
		got, err := tell(ctx, cfg)
		switch {
		case errors.Is(err, phases.ErrNoPod):
			return nil // the measurement's trouble, and not the clients'
		case err != nil:
			return fmt.Errorf("%s: %w", w, err)
		case w.address == a.from && got != stays, got == leaves:
			return fmt.Errorf("%s, %s is answered by the API server %s, not as it should be", w, w.address, got)
		}
		return nil
	})
}

// leaving says which the API server is that leaves, "" for one that does not
// answer.
func (a away) leaving(ctx context.Context, v phases.View, tell teller) (string, error) {
	port, err := front{address: a.from}.port()
	if err != nil {
		return "", err
	}
	cfg, err := loopbackConfig(ctx, v, v.Target(), port)
	if err != nil {
		return "", err
	}
	is, err := tell(ctx, cfg)
	if err != nil {
		return "", nil // it does not answer, which is an answer here
	}
	return is, nil
}

// EndRedirectAway removes what RedirectAway has set up on a host; where there
// is nothing, it changes nothing. Connections that were redirected go on: the
// kernel remembers them.
func EndRedirectAway(ctx context.Context, h remote.Host) error {
	is, err := RedirectedAway(ctx, h)
	if err != nil || !is {
		return err
	}
	return awayTable().Remove(ctx, h)
}

// RedirectedAway says whether RedirectAway's rules are in place on a host.
func RedirectedAway(ctx context.Context, r remote.Reader) (bool, error) {
	return awayTable().Loaded(ctx, r)
}
