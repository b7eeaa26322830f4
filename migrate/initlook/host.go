package initlook

import (
	"context"
	"errors"
	"slices"
	"sync"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/remote/sshhost"
)

// looked is the host to look at, and how it came to that.
type looked struct {
	host cluster.Host
	// jump is the way to it where only the inventory knows it.
	jump string
	// typed is what the operator has said of it, which wins over the
	// inventory; member its name there, or "".
	typed  initspec.SSH
	member string
}

// choose is the host to look at: the one that is named, else the
// inventory's. What is not typed is taken from the inventory, if the host is
// there.
func choose(ctx context.Context, word string, groups *initspec.Groups) (looked, error) {
	if word == "" && groups == nil {
		return looked{}, errors.New("`migrate init` needs the control-plane node of your cluster, as ssh reaches it: migrate init root@HOST (or --inventory FILE, which names it)")
	}
	if word == "" {
		m := groups.ControlPlane[0]
		return looked{host: asHost(m), jump: m.ProxyJump, member: m.Name}, nil
	}
	h, err := cluster.ParseHost(word)
	if err != nil {
		return looked{}, err
	}
	l := looked{host: h, typed: initspec.SSH{User: h.SSH.User, Port: h.SSH.Port, Address: h.Address}}
	if groups == nil {
		return l, nil
	}
	members := groups.All()
	i := slices.IndexFunc(members, func(m initspec.Member) bool {
		return h.Address == m.Address || h.Address == m.SSHAddress && (!m.Shared || h.SSH.Port == m.Port)
	})
	if i < 0 {
		i = slices.IndexFunc(members, func(m initspec.Member) bool { return h.Name == m.Name })
	}
	if i < 0 {
		at := addressesOf(ctx, h.Address)
		i = slices.IndexFunc(members, func(m initspec.Member) bool {
			return slices.Contains(at, m.SSHAddress) || slices.ContainsFunc(m.Known, func(a string) bool { return slices.Contains(at, a) })
		})
	}
	if i >= 0 {
		l.take(members[i])
	}
	return l, nil
}

// take fills in what the inventory knows of the host and nobody has typed.
func (l *looked) take(m initspec.Member) {
	l.member, l.jump = m.Name, m.ProxyJump
	if l.host.SSH.User == "" {
		l.host.SSH.User = m.User
	}
	if l.host.SSH.Port == 0 {
		l.host.SSH.Port = m.Port
	}
	l.host.SSH.IdentityFile = m.IdentityFile
	// Typed as the inventory calls it, it is reached as the inventory says.
	if l.host.Name == m.Name && m.SSHAddress != m.Name {
		l.host.Address, l.host.SSH.Address = m.SSHAddress, m.SSHAddress
		l.typed.Address = ""
	}
}

// pools are connections by the way to the hosts, where only an inventory
// knows it.
type pools struct {
	options sshhost.Options
	mu      sync.Mutex
	jumps   map[string]*sshhost.Pool
}

func newPools(o sshhost.Options) *pools {
	return &pools{options: o, jumps: map[string]*sshhost.Pool{}}
}

// by returns the pool for hosts behind a bastion, "" for none.
func (p *pools) by(jump string) *sshhost.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jumps[jump] == nil {
		o := p.options
		o.Jump = jump
		p.jumps[jump] = sshhost.NewPool(o)
	}
	return p.jumps[jump]
}

func (p *pools) close() {
	for _, pool := range p.jumps {
		// Closing tells nothing that looking has not told.
		_ = pool.Close()
	}
}
