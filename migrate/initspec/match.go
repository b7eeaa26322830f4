package initspec

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// FromInventory is the choice that an inventory makes. Its hosts are matched
// with the Nodes by address, and the Node's name wins: kubeadm and the
// certificates go by it. What the inventory does not say, or says in a way
// that cannot be, is a blank, and a note says so.
func FromInventory(f Found, g Groups) Choice {
	f, g = distinct(f, g)
	c := Choice{Endpoint: g.Endpoint, Notes: slices.Clone(g.Notes), Source: g.File}
	node := c.match(f, g)
	first := c.first(f, g, node)
	own := map[string]bool{} // names and addresses that have their part to play
	for _, n := range f.Nodes() {
		own["name "+n.Name], own[n.Address] = true, true
	}
	joining := c.free(g.ControlPlane, "control-plane node that joins", node, f, own)
	members := c.free(g.Etcd, "member of etcd", node, f, own)
	balancers := c.free(g.LoadBalancers, "load balancer", node, f, own)
	if n := len(members); n > 3 && n != 5 {
		c.note("the inventory has %d hosts that could be members of etcd; the first 3 are taken", n)
		members = members[:3]
	}
	workers := workersOf(f, g, node)
	c.SSH = common(slices.Concat(first, joining, members, balancers, workers))
	c.First = firstSSH(c, f, g, first)
	c.Joining, c.Etcd, c.LoadBalancers = c.hosts(joining), c.hosts(members), c.hosts(balancers)
	c.workers(f, workers, node)
	c.leftOut(g, node, own)
	c.jumps(slices.Concat(first, joining, members, balancers, workers), node)
	c.fillUp()
	return c
}

// has says whether a Node is known by an address.
func (n Node) has(address string) bool {
	return address != "" && (n.Address == address || slices.Contains(n.Addresses, address) || slices.Contains(n.Known, address) || slices.Contains(n.Shown, address))
}

// Is says whether one of the inventory host's addresses is the Node's.
func (m Member) Is(n Node) bool {
	return n.has(m.Address) || !m.Shared && n.has(m.SSHAddress) || slices.ContainsFunc(m.Known, n.has)
}

// Nodes are all nodes of the cluster.
func (f Found) Nodes() []Node { return append([]Node{f.First}, f.Workers...) }

// match finds which Node each host of the inventory is: by address, and only
// where that says nothing by name, since names of inventories are free.
func (c *Choice) match(f Found, g Groups) map[string]string {
	node, taken := map[string]string{}, map[string]bool{}
	var renamed []string
	for _, m := range g.All() {
		for _, n := range f.Nodes() {
			// The one that was reached and looked at is it, whatever address
			// it is known by.
			if m.Name == g.ReachedName && n.Name != f.First.Name || m.Name != g.ReachedName && !m.Is(n) {
				continue
			}
			node[m.Name], taken[n.Name] = n.Name, true
			if !strings.EqualFold(m.Name, n.Name) {
				renamed = append(renamed, fmt.Sprintf("%s is the Node %s", m.Name, n.Name))
			}
			break
		}
	}
	for _, m := range g.All() {
		for _, n := range f.Nodes() {
			if node[m.Name] != "" || taken[n.Name] || !strings.EqualFold(m.Name, n.Name) {
				continue
			}
			if m.Asked {
				c.note("%s of the inventory is not the Node of that name: it has none of its addresses (%s)", m.Name, strings.Join(n.Addresses, ", "))
				continue
			}
			node[m.Name], taken[n.Name] = n.Name, true
			if !m.nameless() {
				c.note("%s of the inventory is taken for the Node %s by its name alone: its addresses are others, and it could not be asked for more", m.Name, n.Name)
			}
		}
	}
	if len(renamed) > 0 {
		c.note("hosts of the inventory were matched with the Nodes by address, and the Node's name is used: %s", short(renamed))
	}
	return node
}

// nameless says whether nothing but the name is known of a host.
func (m Member) nameless() bool {
	return m.Address == "" && (m.Shared || net.ParseIP(m.SSHAddress) == nil) && len(m.Known) == 0
}

// first is the inventory's host for the control-plane node, as the operator
// reaches it.
func (c *Choice) first(f Found, g Groups, node map[string]string) []Member {
	for _, m := range g.All() {
		if node[m.Name] != f.First.Name {
			continue
		}
		m.User, m.IdentityFile = or(g.Reached.User, m.User), or(g.Reached.IdentityFile, m.IdentityFile)
		m.SSHAddress = or(g.Reached.Address, m.SSHAddress)
		if g.Reached.Port != 0 {
			m.Port = g.Reached.Port
		}
		return []Member{m}
	}
	c.note("the inventory has no host with an address of %s (%s), which is the control-plane node of the cluster", f.First.Name, f.First.Address)
	return nil
}

func firstSSH(c Choice, f Found, g Groups, first []Member) SSH {
	if len(first) > 0 {
		return c.reached(first[0], f.First.Address)
	}
	m := Member{SSHAddress: or(g.Reached.Address, f.First.Address), User: g.Reached.User, Port: g.Reached.Port, IdentityFile: g.Reached.IdentityFile}
	return c.reached(m, f.First.Address)
}

// free are those of a group that have no other part to play: no Node of the
// cluster, and none that was given a part before.
func (c *Choice) free(members []Member, part string, node map[string]string, f Found, own map[string]bool) []Member {
	var out []Member
	for _, m := range members {
		keys := []string{"name " + strings.ToLower(m.Name)}
		if m.Address != "" {
			keys = append(keys, m.Address)
		}
		if !m.Shared {
			keys = append(keys, m.SSHAddress)
		}
		switch name := node[m.Name]; {
		case name == f.First.Name && part == "control-plane node that joins":
			continue
		case name == f.First.Name:
			c.note("the inventory has %s as %s, which is a control-plane node: a %s needs a host of its own, so its place is a blank", m.Name, part, part)
			continue
		case name != "":
			c.note("the inventory has %s as %s, which is the Node %s of the cluster: a %s needs a host of its own, so its place is a blank", m.Name, part, name, part)
			continue
		case slices.ContainsFunc(keys, func(k string) bool { return own[k] }):
			c.note("the inventory has %s as %s, which has another part already: a %s needs a host of its own, so its place is a blank", m.Name, part, part)
			continue
		}
		for _, key := range keys {
			own[key] = true
		}
		out = append(out, m)
	}
	return out
}

// workersOf are the inventory's hosts for the workers of the cluster, one for
// each, in the inventory's order: those of its group first.
func workersOf(f Found, g Groups, node map[string]string) []Member {
	var out []Member
	taken := map[string]bool{"": true, f.First.Name: true}
	for _, m := range slices.Concat(g.Workers, g.All()) {
		if name := node[m.Name]; !taken[name] {
			taken[name] = true
			out = append(out, m)
		}
	}
	return out
}

// workers lists the workers where the inventory reaches one of them in its
// own way; names are those of the Nodes.
func (c *Choice) workers(f Found, members []Member, node map[string]string) {
	var list []Host
	own := false
	known := map[string]bool{}
	for _, m := range members {
		n := f.Workers[slices.IndexFunc(f.Workers, func(n Node) bool { return n.Name == node[m.Name] })]
		known[n.Name] = true
		m.Name, m.Address = n.Name, or(n.Address, m.Address)
		h := c.host(m)
		own = own || h.SSH != SSH{}
		list = append(list, h)
	}
	var missing []string
	for _, n := range f.Workers {
		if !known[n.Name] {
			missing = append(missing, fmt.Sprintf("%s (%s)", n.Name, or(n.Address, "without InternalIP")))
			list = append(list, Host{Name: n.Name, Address: n.Address})
		}
	}
	if len(missing) > 0 {
		c.note("no host of the inventory has an address of these Nodes: %s", short(missing))
	}
	if own {
		c.Workers = list
	}
}

// leftOut says which hosts and groups were not read, and why.
func (c *Choice) leftOut(g Groups, node map[string]string, own map[string]bool) {
	unused := func(members []Member) (out []string) {
		for _, m := range members {
			if node[m.Name] == "" && !own["name "+strings.ToLower(m.Name)] {
				out = append(out, m.Name)
			}
		}
		return out
	}
	if workers := unused(g.Workers); len(workers) > 0 {
		c.note("the inventory has workers that are no Node of the cluster, by address and by name; they are left out: %s", short(workers))
	}
	const most = 10
	for i, other := range g.Others {
		if i == most {
			c.note("%d more groups have names that are not known here either", len(g.Others)-most)
			break
		}
		if hosts := unused(other.Members); len(hosts) > 0 {
			c.note("of the group %s was not read: %s. The group's name does not say what a host is for, and none of these has an address of a Node", other.Name, short(hosts))
		}
	}
}

// short names some, and how many more there are.
func short(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
