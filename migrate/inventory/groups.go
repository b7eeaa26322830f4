package inventory

import (
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/show"
)

// role is what a group's name says of its hosts. Names are free in Ansible:
// only those of widespread tutorials and tools are known.
type role string

const (
	none         role = ""
	controlPlane role = "control plane"
	worker       role = "worker"
	etcd         role = "etcd"
	balancer     role = "load balancer"
)

// roleOf reads a group's name, however its words are joined: kube-master,
// k8s_masters, control-plane, kubeWorkers, etcd_nodes.
func roleOf(name string) role {
	word := strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(name))
	if r := roleOfWord(word); r != none {
		return r
	}
	for _, prefix := range []string{"kubernetes", "kubeadm", "kube", "k8s"} {
		if rest, ok := strings.CutPrefix(word, prefix); ok {
			word = rest
			break
		}
	}
	if r := roleOfWord(word); r != none {
		return r
	}
	for _, suffix := range []string{"nodes", "node", "hosts", "host", "servers", "server", "group"} {
		if rest, ok := strings.CutSuffix(word, suffix); ok {
			return roleOfWord(rest)
		}
	}
	return none
}

func roleOfWord(word string) role {
	switch word {
	case "controlplane", "controlplanes", "master", "masters", "controller", "controllers":
		return controlPlane
	case "node", "nodes", "worker", "workers", "minion", "minions":
		return worker
	case "etcd", "etcds", "etcdmember", "etcdmembers", "etcdcluster":
		return etcd
	case "lb", "lbs", "loadbalancer", "loadbalancers":
		return balancer
	}
	return none
}

// of are the groups of a role, Kubespray's names first.
func (m *model) of(r role) []string {
	var out []string
	for _, key := range m.order {
		if roleOf(key) == r && len(m.members(key)) > 0 {
			out = append(out, key)
		}
	}
	rank := func(key string) int {
		at := slices.Index([]string{"kube_control_plane", "kube_master", "kube_node", "etcd", "loadbalancer"}, key)
		if at < 0 {
			return 5
		}
		return at
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// chosen is the one group that is taken for a role, and says which others
// are left out with hosts that it does not have.
func (m *model) chosen(r role) []string {
	all := m.of(r)
	if len(all) < 2 {
		return all
	}
	taken := m.members(all[0])
	for _, key := range all[1:] {
		var left []string
		for _, h := range m.members(key) {
			if !slices.Contains(taken, h) {
				left = append(left, h)
			}
		}
		if len(left) > 0 {
			m.note("the group %s was not read, for %s is taken for the same; only it has %s",
				m.groups[key].name, m.groups[all[0]].name, shortList(left))
		}
	}
	return all[:1]
}

// shortList names some, and how many more there are.
func shortList(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// WithoutControlPlane is the error of somebody who needs the control-plane
// node from the inventory and where no group is known as its own: the groups
// that are there, with their hosts, and the command that says it. The
// command begins with that text, to which a host is added.
func (i Inventory) WithoutControlPlane(command string) error {
	text := show.Sprintf("no group of the inventory %s has a name that says which host is the control-plane node (such as kube_control_plane, kube-master, control_plane, masters, controllers). Its groups are:\n", i.File)
	groups := slices.Clone(i.Others)
	for _, known := range []Group{{string(worker), i.Workers}, {string(etcd), i.Etcd}, {string(balancer), i.LoadBalancers}} {
		if len(known.Hosts) > 0 {
			known.Name = "known as " + known.Name
			groups = append(groups, known)
		}
	}
	const most = 20
	for n, g := range groups {
		if n == most {
			text += show.Sprintf("  and %d more\n", len(groups)-most)
			break
		}
		var hosts []string
		for _, h := range g.Hosts {
			hosts = append(hosts, h.described())
		}
		text += show.Sprintf("  %s: %s\n", g.Name, shortList(hosts))
	}
	host := groups[0].Hosts[0]
	text += show.Sprintf("Name the control-plane node; where it is %s:\n  %s%s", host.Name, command, quoted(host.login()))
	return show.Errorf(nil, "%s", text)
}

// described is a host with the address at which it is reached.
func (h Host) described() string {
	if h.SSHAddress == h.Name {
		return h.Name
	}
	return h.Name + " (" + printable(h.SSHAddress) + ")"
}

// login is what to type for it.
func (h Host) login() string {
	login := or(h.User, "root") + "@" + h.SSHAddress
	if h.Port != 0 && h.Port != 22 && !strings.Contains(h.SSHAddress, ":") {
		login += fmt.Sprintf(":%d", h.Port)
	}
	return login
}
