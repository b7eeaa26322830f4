package initspec

import "slices"

// distinct leaves out the addresses that tell nobody apart, because two hosts or
// more show them: 10.0.2.15 is that of every machine of VirtualBox, 172.17.0.1
// that of every one with docker. A host of which nothing else would be left
// keeps them: it may be another name of the same machine. The address that the
// API calls one Node's is its own: a host of the inventory that is known by it,
// too, is that Node.
func distinct(f Found, g Groups) (Found, Groups) {
	shown, external := map[string]int{}, map[string]int{}
	count := func(addresses []string) {
		for _, a := range slices.Compact(slices.Sorted(slices.Values(addresses))) {
			shown[a]++
		}
	}
	for _, n := range f.Nodes() {
		for _, a := range n.Known {
			external[a]++
		}
		count(slices.DeleteFunc(slices.Clone(n.Shown), func(a string) bool { return slices.Contains(n.Known, a) }))
	}
	isNode := func(m Member) bool { return m.Name == g.ReachedName } // it is counted as the Node
	for _, m := range g.All() {
		if !isNode(m) {
			count(m.Known)
		}
	}
	own := func(addresses []string) []string {
		return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return shown[a] > 1 || external[a] > 1 })
	}
	f.First.Known, f.First.Shown, f.Workers = own(f.First.Known), own(f.First.Shown), slices.Clone(f.Workers)
	for i := range f.Workers {
		f.Workers[i].Known = own(f.Workers[i].Known)
	}
	g.ControlPlane, g.Etcd, g.LoadBalancers, g.Workers, g.Others = slices.Clone(g.ControlPlane), slices.Clone(g.Etcd), slices.Clone(g.LoadBalancers), slices.Clone(g.Workers), slices.Clone(g.Others)
	for i := range g.Others {
		g.Others[i].Members = slices.Clone(g.Others[i].Members)
	}
	g.Each(func(m Member) Member {
		if left := own(m.Known); len(left) > 0 {
			m.Known = left
		}
		return m
	})
	return f, g
}
