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
}

// Groups is an inventory.
type Groups struct {
	File                                       string
	ControlPlane, Etcd, Workers, LoadBalancers []Member
	Endpoint                                   string
	Notes                                      []string
}

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

// FromInventory is the choice that an inventory makes. What it does not say,
// or says in a way that cannot be, is a blank, and a note says so.
func FromInventory(f Found, g Groups) Choice {
	c := Choice{Endpoint: g.Endpoint, Notes: slices.Clone(g.Notes), Source: g.File}
	var first []Member
	controlPlane := map[string]bool{f.First.Name: true}
	var joining []Member
	for _, m := range g.ControlPlane {
		controlPlane[m.Name] = true
		if m.is(f.First) {
			first = append(first, m)
			controlPlane[m.Name] = true
			continue
		}
		joining = append(joining, m)
	}
	var members []Member
	for _, m := range g.Etcd {
		if controlPlane[m.Name] || m.is(f.First) {
			c.note("the inventory's group etcd has %s, which is a control-plane node: a member of an external etcd needs a host of its own, so its place is a blank", m.Name)
			continue
		}
		members = append(members, m)
	}
	if n := len(members); n > 3 && n != 5 {
		c.note("the inventory's group etcd has %d hosts that could be members; the first 3 are taken", n)
		members = members[:3]
	}
	c.SSH = common(slices.Concat(first, joining, members, g.LoadBalancers, g.Workers))
	if len(first) > 0 {
		m := first[0]
		m.Address = f.First.Address // which the spec gives it, whatever the inventory calls its address
		c.First = c.host(m).SSH
	} else {
		c.note("the inventory's group kube_control_plane does not have %s (%s), which is the control-plane node of the cluster", f.First.Name, f.First.Address)
	}
	c.Joining, c.Etcd, c.LoadBalancers = c.hosts(joining), c.hosts(members), c.hosts(g.LoadBalancers)
	c.workers(f, g.Workers)
	c.jumps(slices.Concat(first, joining, members, g.LoadBalancers, g.Workers))
	c.fillUp()
	return c
}

// is says whether an inventory's host is a node of the cluster.
func (m Member) is(n Node) bool {
	return m.Name == n.Name || m.Address != "" && m.Address == n.Address || m.SSHAddress == n.Address
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
	if h.Address == "" && net.ParseIP(m.SSHAddress) != nil {
		h.Address = m.SSHAddress
	}
	if m.SSHAddress != h.Address {
		h.SSH.Address = m.SSHAddress
	}
	if m.User != c.SSH.User {
		h.SSH.User = m.User
	}
	if m.Port != c.SSH.Port {
		h.SSH.Port = m.Port
	}
	if m.IdentityFile != c.SSH.IdentityFile {
		h.SSH.IdentityFile = m.IdentityFile
	}
	if h.Address == "" {
		c.note("the inventory names %s without an IP address (ip or ansible_host): its address is a blank", m.Name)
	}
	return h
}

// workers lists the workers where the inventory reaches one of them in its
// own way; names are those of the Nodes.
func (c *Choice) workers(f Found, members []Member) {
	var list []Host
	own := false
	known := map[string]bool{}
	for _, m := range members {
		i := slices.IndexFunc(f.Workers, m.is)
		if i < 0 {
			c.note("the inventory's group kube_node has %s, and the cluster has no Node of that name or address: it is left out", m.Name)
			continue
		}
		node := f.Workers[i]
		known[node.Name] = true
		m.Name, m.Address = node.Name, or(node.Address, m.Address)
		h := c.host(m)
		own = own || h.SSH != SSH{}
		list = append(list, h)
	}
	for _, n := range f.Workers {
		if !known[n.Name] {
			c.note("the cluster has the Node %s, which the inventory's group kube_node does not have", n.Name)
			list = append(list, Host{Name: n.Name, Address: n.Address})
		}
	}
	if own {
		c.Workers = list
	}
}

// jumps collects the bastions. A spec cannot say them; ~/.ssh/config does.
func (c *Choice) jumps(members []Member) {
	for _, m := range members {
		if m.ProxyJump == "" {
			continue
		}
		i := slices.IndexFunc(c.Jumps, func(j Jump) bool { return j.Via == m.ProxyJump })
		if i < 0 {
			i = len(c.Jumps)
			c.Jumps = append(c.Jumps, Jump{Via: m.ProxyJump})
		}
		for _, name := range []string{strings.ToLower(m.Name), m.SSHAddress} {
			if !slices.Contains(c.Jumps[i].Hosts, name) {
				c.Jumps[i].Hosts = append(c.Jumps[i].Hosts, name)
			}
		}
	}
}
