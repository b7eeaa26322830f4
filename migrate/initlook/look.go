// Package initlook looks at a cluster of which no spec says anything, with an inventory or
// without, and writes its spec: what `migrate init` does.
package initlook

import (
	"context"
	"fmt"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
)

// Look looks at the cluster of a control-plane node, [USER@]HOST[:PORT] or "" for the
// first one of an inventory, and takes over what the inventory says. Groups are nil
// where there is none; notes are added to theirs. Nothing is changed.
func Look(ctx context.Context, ssh sshhost.Options, word string, groups *initspec.Groups) (initspec.Found, initspec.Choice, error) {
	pools := newPools(ssh)
	defer pools.close()
	if groups != nil {
		resolveMembers(ctx, pools.by(""), groups)
	}
	h, err := choose(ctx, word, groups)
	if err != nil {
		return initspec.Found{}, initspec.Choice{}, err
	}
	found, host, err := lookAtCluster(ctx, pools.by(h.jump), h.host)
	if err != nil {
		return initspec.Found{}, initspec.Choice{}, err
	}
	if groups == nil {
		return found, initspec.Blank(found, h.typed), nil
	}
	groups.Reached, groups.ReachedName = h.typed, h.member
	// Without them it is recognised by what the API says of it.
	found.First.Shown, err = shownAddresses(ctx, host)
	if err != nil {
		groups.Notes = append(groups.Notes, fmt.Sprintf("%s could not be asked for its addresses: %v", host.Name(), err))
	}
	askMembers(ctx, groups, found, pools.askBySSH)
	return found, initspec.FromInventory(found, *groups), nil
}

// lookAtCluster connects and looks.
func lookAtCluster(ctx context.Context, pool *sshhost.Pool, h cluster.Host) (initspec.Found, remote.Host, error) {
	host, err := pool.Host(ctx, h)
	if err != nil {
		return initspec.Found{}, nil, err
	}
	c := NewLive(host, func(what string) func() { return pool.Waits(h, what) })
	defer c.Close()
	found, err := initspec.Look(ctx, host, c)
	return found, host, err
}
