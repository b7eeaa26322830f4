package initspec

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// SSH is how a host is reached, as far as the spec has to say it.
type SSH struct {
	User         string
	Port         int
	IdentityFile string
	Address      string // where that is not the host's address
}

// Host is a host of the spec; an empty field is a blank.
type Host struct {
	Name, Address string
	SSH           SSH
}

// Jump is a way that ~/.ssh/config has to know.
type Jump struct {
	Hosts []string `json:"hosts"`
	Via   string   `json:"via"`
}

// Choice is what the spec will say beside what was found.
type Choice struct {
	// SSH is spec.ssh.
	SSH SSH
	// First is how the control-plane node is reached.
	First SSH
	// Endpoint is host:port, or a blank.
	Endpoint      string
	LoadBalancers []Host
	Etcd          []Host
	Joining       []Host
	// Workers are listed where they are not reached at their InternalIP as
	// everything else is; nil leaves them to be found.
	Workers []Host
	Jumps   []Jump
	Notes   []string
	// Source is the inventory that was read, or "".
	Source string
}

// Member is a host of an inventory.
type Member struct {
	Name, Address, SSHAddress string
	User                      string
	Port                      int
	IdentityFile, ProxyJump   string
	// Known are addresses that its name means, or that it has shown itself.
	Known []string
	// Shared: other hosts have the same SSHAddress, with other ports, so that
	// it is no host's own.
	Shared bool
	// Asked: Known has all that it has shown.
	Asked bool
}

// Group is a group of an inventory of which the name says nothing.
type Group struct {
	Name    string
	Members []Member
}

// Groups is an inventory.
type Groups struct {
	File                                       string
	ControlPlane, Etcd, Workers, LoadBalancers []Member
	Others                                     []Group
	Endpoint                                   string
	Notes                                      []string
	// Reached is how the operator says that the control-plane node is
	// reached, which wins over the inventory; and ReachedName which of the
	// inventory's hosts that is, or "".
	Reached     SSH
	ReachedName string
}

// All lists every member once.
func (g Groups) All() []Member {
	lists := [][]Member{g.ControlPlane, g.Etcd, g.LoadBalancers, g.Workers}
	for _, other := range g.Others {
		lists = append(lists, other.Members)
	}
	var out []Member
	for _, m := range slices.Concat(lists...) {
		if !slices.ContainsFunc(out, m.same) {
			out = append(out, m)
		}
	}
	return out
}

// MarkShared marks the hosts that are told apart by their port alone.
func (g *Groups) MarkShared() {
	ports := map[string]map[int]bool{}
	for _, m := range g.All() {
		if ports[m.SSHAddress] == nil {
			ports[m.SSHAddress] = map[int]bool{}
		}
		ports[m.SSHAddress][m.Port] = true
	}
	g.Each(func(m Member) Member {
		m.Shared = len(ports[m.SSHAddress]) > 1
		return m
	})
}

// Each replaces each member, wherever it stands.
func (g *Groups) Each(do func(Member) Member) {
	lists := [][]Member{g.ControlPlane, g.Etcd, g.LoadBalancers, g.Workers}
	for _, other := range g.Others {
		lists = append(lists, other.Members)
	}
	for _, list := range lists {
		for i, m := range list {
			list[i] = do(m)
		}
	}
}

func (m Member) same(other Member) bool { return m.Name == other.Name }

// Blank is the choice of somebody without an inventory: everything that is to
// come is a blank, in the numbers that the spec wants.
func Blank(f Found, reached SSH) Choice {
	c := Choice{SSH: SSH{User: reached.User, Port: reached.Port}}
	if reached.Address != f.First.Address {
		c.First.Address = reached.Address
	}
	c.fillUp()
	return c
}

// fillUp adds blanks up to the least numbers of hosts.
func (c *Choice) fillUp() {
	if len(c.LoadBalancers) == 0 {
		c.LoadBalancers = make([]Host, 1)
	}
	if n := len(c.Etcd); n != 5 {
		c.Etcd = append(slices.Clone(c.Etcd[:min(n, 3)]), make([]Host, max(0, 3-n))...)
	}
	if n := len(c.Joining); n < 2 {
		c.Joining = append(c.Joining, make([]Host, 2-n)...)
	}
}

func (c *Choice) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// common is how most hosts are reached, in what the inventory says of all of
// them: for a host of which it says nothing, ~/.ssh/config decides, and what
// the spec says for all hosts would be put over that.
func common(all []Member) SSH {
	users, ports, files := map[string]int{}, map[int]int{}, map[string]int{}
	for _, m := range all {
		users[m.User]++
		ports[m.Port]++
		files[m.IdentityFile]++
	}
	return SSH{User: most(users), Port: most(ports), IdentityFile: most(files)}
}

// most is what is there in more than half of the cases, or nothing; nothing
// also where it is so in one case.
func most[T comparable](count map[T]int) T {
	var none T
	sum := 0
	for _, n := range count {
		sum += n
	}
	for v, n := range count {
		if 2*n > sum && count[none] == 0 {
			return v
		}
	}
	return none
}

func (c *Choice) hosts(members []Member) []Host {
	var out []Host
	for _, m := range members {
		out = append(out, c.host(m))
	}
	return out
}

// host makes a host of the spec. What the inventory does not say of it, all
// hosts lack.
func (c *Choice) host(m Member) Host {
	h := Host{Name: strings.ToLower(m.Name), Address: m.Address}
	if net.ParseIP(m.Name) != nil {
		h.Name = "" // a host that is called by its address has not said its name
	}
	switch {
	case h.Address != "":
	case net.ParseIP(m.SSHAddress) != nil && !m.Shared:
		h.Address = m.SSHAddress
	case len(m.Known) == 1:
		h.Address = m.Known[0]
		c.note("%s has the address %s by what its name means here; other hosts must reach it there", m.Name, h.Address)
	}
	h.SSH = c.reached(m, h.Address)
	if h.Address == "" {
		c.note("the inventory names %s without an IP address (ip or ansible_host): its address is a blank", m.Name)
	}
	return h
}

// reached is what the spec has to say of how a host is reached.
func (c *Choice) reached(m Member, address string) (s SSH) {
	if m.SSHAddress != address {
		s.Address = m.SSHAddress
	}
	if m.User != c.SSH.User {
		s.User = m.User
	}
	if m.Port != c.SSH.Port {
		s.Port = m.Port
	}
	if m.IdentityFile != c.SSH.IdentityFile {
		s.IdentityFile = m.IdentityFile
	}
	return s
}

// jumps collects the bastions. A spec cannot say them; ~/.ssh/config does, and
// knows hosts by the names of the spec.
func (c *Choice) jumps(members []Member, node map[string]string) {
	for _, m := range members {
		if m.ProxyJump == "" {
			continue
		}
		i := slices.IndexFunc(c.Jumps, func(j Jump) bool { return j.Via == m.ProxyJump })
		if i < 0 {
			i = len(c.Jumps)
			c.Jumps = append(c.Jumps, Jump{Via: m.ProxyJump})
		}
		for _, name := range []string{or(node[m.Name], strings.ToLower(m.Name)), m.SSHAddress} {
			if !slices.Contains(c.Jumps[i].Hosts, name) {
				c.Jumps[i].Hosts = append(c.Jumps[i].Hosts, name)
			}
		}
	}
}
