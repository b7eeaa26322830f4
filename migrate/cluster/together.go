package cluster

import (
	"cmp"
	"fmt"
)

// duplicates complains about a name or an address that two hosts have. One
// machine has one part to play.
func (in *inventory) duplicates() {
	in.onlyOnce("name", func(h knownHost) (string, place) { return h.Name, h.name })
	in.onlyOnce("address", func(h knownHost) (string, place) { return h.Address, h.address })
	in.namedAsAnother()
}

// namedAsAnother complains about a host whose name is the address of another
// one: each name leads to one machine. Its own address may be its name, which
// some clouds give their Nodes.
func (in *inventory) namedAsAnother() {
	for _, h := range in.known {
		for _, other := range in.known {
			if h.Name != "" && h.Name == other.Address && h.address != other.address {
				in.bad(h.name, "%s is the address of another host, of %s; write this host's own name", h.Name, other.where(other.address))
			}
		}
	}
}

func (in *inventory) onlyOnce(what string, value func(knownHost) (string, place)) {
	seen := map[string]knownHost{}
	for _, h := range in.known {
		v, at := value(h)
		first, twice := seen[v]
		switch {
		case v == "": // missing or wrong, and told so
		case twice:
			_, firstAt := value(first)
			in.bad(at, "%s is the %s of %s already%s", v, what, first.where(firstAt), why(first, h))
		default:
			seen[v] = h
		}
	}
}

func (h knownHost) where(p place) string {
	name := h.Name
	if name == "" {
		name = "a host"
	}
	return fmt.Sprintf("the %s %s (line %d)", h.group, name, p.line())
}

func why(a, b knownHost) string {
	groups := map[string]bool{a.group: true, b.group: true}
	switch {
	case groups[groupEtcd] && (groups[groupFirst] || groups[groupJoining]):
		return "; an external etcd member needs a host of its own: only there it survives the loss of a control-plane node, " +
			"and on the first one ports 2379 and 2380 are taken by the etcd it replaces"
	case a.group != b.group:
		return "; each host has one part to play, use another one"
	default:
		return "; list each host once"
	}
}

// endpointIsNoNode refuses an endpoint that dies with one node. A load
// balancer's own address is what it usually is.
func (in *inventory) endpointIsNoNode(p place, e Endpoint) {
	for _, h := range in.known {
		if h.group == groupBalancer || e.Host == "" || e.Host != h.Address && e.Host != h.Name {
			continue
		}
		in.bad(p, "%s is %s; the endpoint must outlive that host: write the load balancer's address or a name for it",
			e.Host, h.where(h.address))
	}
}

// sshPort is where sshd listens unless the spec says something else.
const sshPort = 22

// endpointIsNoLogin refuses an endpoint with the port by which its load balancer
// is logged in to: both can't listen there, and the way to it would be lost.
func (in *inventory) endpointIsNoLogin(p place, e Endpoint) {
	for _, h := range in.known {
		if h.group == groupBalancer && e.Port != 0 && e.Port == cmp.Or(h.SSH.Port, sshPort) {
			in.bad(p, "port %d is that of SSH on %s; write the port of the API, usually 6443", e.Port, h.where(h.name))
			return
		}
	}
}
