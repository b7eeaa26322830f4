package initlook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/inventory"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/show"
)

const (
	// nameTime bounds the look-up of a name, and namesTime that of all.
	nameTime  = 3 * time.Second
	namesTime = 15 * time.Second
	// askTime bounds what the hosts of an inventory are asked for their
	// addresses, all of them together, and mostAsked how many.
	askTime   = 20 * time.Second
	mostAsked = 32
	// atOnce is how many hosts are looked up or asked side by side.
	atOnce = 8
)

// Groups hands an inventory to the maker of specs, which knows no Ansible.
func Groups(inv inventory.Inventory) *initspec.Groups {
	members := func(hosts []inventory.Host) (out []initspec.Member) {
		for _, h := range hosts {
			out = append(out, initspec.Member{Name: h.Name, Address: h.Address, SSHAddress: h.SSHAddress,
				User: h.User, Port: h.Port, IdentityFile: h.IdentityFile, ProxyJump: h.ProxyJump})
		}
		return out
	}
	g := &initspec.Groups{File: inv.File, ControlPlane: members(inv.ControlPlane), Etcd: members(inv.Etcd),
		Workers: members(inv.Workers), LoadBalancers: members(inv.LoadBalancers), Endpoint: inv.Endpoint, Notes: inv.Notes}
	for _, other := range inv.Others {
		g.Others = append(g.Others, initspec.Group{Name: other.Name, Members: members(other.Hosts)})
	}
	g.MarkShared()
	return g
}

// asHost is how an inventory's host is connected to.
func asHost(m initspec.Member) cluster.Host {
	return cluster.Host{Name: m.Name, Address: m.SSHAddress,
		SSH: cluster.SSH{Address: m.SSHAddress, User: m.User, Port: m.Port, IdentityFile: m.IdentityFile}}
}

// sideBySide does something for each member of an inventory, and puts what it
// returns into all the places where the member stands.
func sideBySide(g *initspec.Groups, members []initspec.Member, do func(initspec.Member) initspec.Member) {
	done := make([]initspec.Member, len(members))
	_ = parallel.Limited(atOnce, members, func(i int, m initspec.Member) error {
		done[i] = do(m)
		return nil
	})
	known := map[string]initspec.Member{}
	for _, m := range done {
		known[m.Name] = m
	}
	g.Each(func(m initspec.Member) initspec.Member {
		if now, ok := known[m.Name]; ok {
			return now
		}
		return m
	})
}

// resolveMembers finds the addresses that the names of an inventory mean
// here: by ~/.ssh/config and DNS.
func resolveMembers(ctx context.Context, pool *sshhost.Pool, g *initspec.Groups) {
	const most = 200
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	members := slices.DeleteFunc(g.All(), func(m initspec.Member) bool { return net.ParseIP(m.SSHAddress) != nil })
	sideBySide(g, members[:min(len(members), most)], func(m initspec.Member) initspec.Member {
		// Without SSH.Address, so that a HostName of ~/.ssh/config counts.
		name, err := pool.Reaches(cluster.Host{Name: m.Name, Address: m.SSHAddress})
		if err != nil {
			name = m.SSHAddress // what is wrong with the config is told when it is connected to
		}
		m.Known = addressesOf(ctx, name)
		return m
	})
}

// addressesOf are the addresses of a name, IPv4 first; none of a name that is
// not known here.
func addressesOf(ctx context.Context, name string) []string {
	if net.ParseIP(name) != nil {
		return []string{name}
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range found {
		if !a.IsLoopback() {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// shownAddresses are those that a host has itself, without those of containers.
func shownAddresses(ctx context.Context, host remote.Host) ([]string, error) {
	out, err := host.Look(ctx, remote.Command{Script: remote.ShowAddresses})
	return remote.OwnAddresses(out), err
}

// askMembers asks hosts of the inventory for their addresses, where there are
// workers of which no host has an address that is known so far: the inventory
// may reach them at others than the Nodes have. The control-plane node was
// reached already.
func askMembers(ctx context.Context, g *initspec.Groups, found initspec.Found, ask func(context.Context, initspec.Member) ([]string, error)) {
	members := g.All()
	left := slices.DeleteFunc(slices.Clone(found.Workers), func(n initspec.Node) bool {
		return slices.ContainsFunc(members, func(m initspec.Member) bool { return m.Is(n) })
	})
	if len(left) == 0 {
		return
	}
	members = slices.DeleteFunc(members, func(m initspec.Member) bool {
		return m.Name == g.ReachedName || slices.ContainsFunc(found.Nodes(), m.Is)
	})
	if n := len(members); n > mostAsked {
		g.Notes = append(g.Notes, fmt.Sprintf("%d hosts of the inventory have no address of a Node; only the first %d were asked for more of their addresses", n, mostAsked))
		members = members[:mostAsked]
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errors.New("it took too long"))
	defer cancel()
	var mu sync.Mutex
	var silent []string
	sideBySide(g, members, func(m initspec.Member) initspec.Member {
		shown, err := ask(ctx, m)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, m.Name)
			return m
		}
		m.Known, m.Asked = append(slices.Clone(m.Known), shown...), true
		return m
	})
	if len(silent) > 0 {
		slices.Sort(silent)
		g.Notes = append(g.Notes, fmt.Sprintf("could not be asked for their addresses by SSH, and so not be recognised, if they are Nodes: %s", strings.Join(silent, ", ")))
	}
}

// askBySSH asks one of them. It takes no root's rights.
func (p *pools) askBySSH(ctx context.Context, m initspec.Member) ([]string, error) {
	h := asHost(m)
	h.SSH.Become, h.SSH.Timeout = "none", askTime/4
	host, err := p.by(m.ProxyJump).Host(ctx, h)
	if err != nil {
		return nil, err
	}
	return shownAddresses(ctx, host)
}

// Failed tells what an inventory's reading has noted when init fails: it
// may be why.
func Failed(w io.Writer, groups *initspec.Groups, err error) error {
	if groups == nil || len(groups.Notes) == 0 {
		return err
	}
	show.Fprintf(w, "migrate: of the inventory %s:\n", groups.File)
	for _, n := range groups.Notes {
		show.Fprintf(w, "  - %s\n", n)
	}
	return err
}
