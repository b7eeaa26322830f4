// Package inventory reads Ansible inventories: which hosts are in the groups
// that Kubespray, the tutorials of kubeadm and their relatives use, and how
// Ansible reaches them. It takes over what a spec file can say and names what
// it cannot.
//
// Where Ansible is installed, its own ansible-inventory reads the file;
// without it, or where that fails, this package does: INI, YAML, the JSON that
// ansible-inventory prints, folders of these, group_vars and host_vars. It
// starts no program that prints an inventory, and resolves no templates and
// vaults.
package inventory

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"
)

// Host is a host of an inventory. What is empty is not said there.
type Host struct {
	Name string
	// Address is the one that other hosts use: Kubespray's ip or access_ip.
	Address string
	// SSHAddress is ansible_host, else the name.
	SSHAddress   string
	User         string
	Port         int
	IdentityFile string
	// ProxyJump is the way to it, as ssh -J has it.
	ProxyJump string
}

// Group is a group as it is written.
type Group struct {
	Name  string
	Hosts []Host
}

// Inventory is what a spec is made from, in the order of the file.
type Inventory struct {
	File string
	// ControlPlane is empty where no group's name says that it is that of the
	// control-plane nodes.
	ControlPlane  []Host
	Etcd          []Host
	Workers       []Host // without control-plane nodes
	LoadBalancers []Host
	// Others are the groups with hosts of their own that are in none of these
	// four, for their names say nothing; with those hosts.
	Others []Group
	// Endpoint is Kubespray's loadbalancer_apiserver, host:port, or "".
	Endpoint string
	// Notes are sentences about what is not taken over.
	Notes []string
}

// inventory picks what a spec is made from.
func (m *model) inventory() (Inventory, error) {
	m.link()
	out := Inventory{File: m.file}
	read := map[string]Host{} // each host once, for its notes
	hosts := func(names []string) (list []Host) {
		for _, name := range names {
			if _, done := read[name]; !done {
				read[name] = m.host(name)
			}
			list = append(list, read[name])
		}
		return list
	}
	first := m.members(m.chosen(controlPlane)...)
	out.ControlPlane = hosts(first)
	out.Etcd = hosts(m.members(m.chosen(etcd)...))
	out.LoadBalancers = hosts(m.members(m.chosen(balancer)...))
	for _, h := range hosts(m.members(m.of(worker)...)) {
		if !slices.Contains(first, h.Name) {
			out.Workers = append(out.Workers, h)
		}
	}
	known := maps.Clone(read)
	for _, g := range m.order {
		own := slices.DeleteFunc(slices.Clone(m.groups[g].hosts), func(h string) bool { _, is := known[h]; return is })
		if len(own) > 0 {
			out.Others = append(out.Others, Group{Name: m.groups[g].name, Hosts: hosts(own)})
		}
	}
	if len(read) == 0 {
		return Inventory{}, fmt.Errorf("the inventory %s has no host%s", m.file, because(m.notes))
	}
	if len(first) > 0 {
		v := m.varsOf(first[0])
		if address := m.plain(first[0], v, "loadbalancer_apiserver.address"); address != "" {
			out.Endpoint = net.JoinHostPort(address, or(m.plain(first[0], v, "loadbalancer_apiserver.port"), "6443"))
		}
	}
	out.Notes = m.notes
	return out, nil
}

// All lists every host once: first those of the groups that are known.
func (i Inventory) All() []Host {
	lists := [][]Host{i.ControlPlane, i.Etcd, i.LoadBalancers, i.Workers}
	for _, g := range i.Others {
		lists = append(lists, g.Hosts)
	}
	var out []Host
	seen := map[string]bool{}
	for _, h := range slices.Concat(lists...) {
		if !seen[h.Name] {
			out = append(out, h)
		}
		seen[h.Name] = true
	}
	return out
}

// host reads how Ansible reaches a host.
func (m *model) host(name string) Host {
	v := m.varsOf(name)
	h := Host{
		Name:       name,
		Address:    or(m.plain(name, v, "ip"), m.plain(name, v, "access_ip")),
		SSHAddress: or(m.plain(name, v, "ansible_host", "ansible_ssh_host"), name),
		User:       m.plain(name, v, "ansible_user", "ansible_ssh_user"),
	}
	if h.User != "" && !remote.IsUser(h.User) {
		m.note("ansible_user %s of %s is not a user name, and not taken over", inputfile.Quote(h.User), name)
		h.User = ""
	}
	if !isAddress(h.SSHAddress) {
		m.note("ansible_host %s of %s is no address, and not taken over", inputfile.Quote(h.SSHAddress), name)
		h.SSHAddress = name
	}
	h.IdentityFile = m.keyFile(name, m.plain(name, v, "ansible_ssh_private_key_file", "ansible_private_key_file"))
	if text := m.plain(name, v, "ansible_port", "ansible_ssh_port"); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			m.note("ansible_port %s of %s is not a port, which is a number from 1 to 65535, and not taken over", inputfile.Quote(text), name)
		} else {
			h.Port = port
		}
	}
	for _, key := range []string{"ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"} {
		jump, rest := sshArgs(m.plain(name, v, key))
		h.ProxyJump = or(h.ProxyJump, jump)
		if len(rest) > 0 {
			// Values are never told: a ProxyCommand may have a password in it.
			m.note("%s sets %s, which is not taken over: what it is for belongs into ~/.ssh/config", key, strings.Join(rest, ", "))
		}
	}
	m.refused(name, v)
	return h
}

// keyFile makes the path of a key one that does not depend on a folder: Ansible
// takes a relative one from where it is started.
func (m *model) keyFile(host, path string) string {
	switch {
	case path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "~/"):
		return path
	case strings.HasPrefix(path, "~"):
		m.note("ansible_ssh_private_key_file of %s is in the home folder of somebody else, and not taken over", host)
		return ""
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "" // there is no folder to start from
	}
	return absolute
}

// refused says what of a host's variables means something here and cannot be
// taken over.
func (m *model) refused(name string, v vars) {
	for _, key := range []string{"ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"} {
		if v[key] != "" {
			m.note("%s is not taken over: log in with a key; sudo's password is asked for on the terminal", key)
		}
	}
	if c := m.plain(name, v, "ansible_connection"); c != "" && c != "ssh" && c != "smart" && c != "paramiko" && c != "paramiko_ssh" {
		m.note("ansible_connection of %s is %s, and this program has SSH only: it must be reachable by SSH", name, inputfile.Quote(c))
	}
	if how := m.plain(name, v, "ansible_become_method"); how != "" && how != "sudo" {
		m.note("ansible_become_method of %s is %s, and this program has sudo only", name, inputfile.Quote(how))
	}
	if who := m.plain(name, v, "ansible_become_user"); who != "" && who != "root" {
		m.note("ansible_become_user of %s is %s; this program needs root's rights", name, inputfile.Quote(who))
	}
	if user := m.plain(name, v, "ansible_user", "ansible_ssh_user"); falsy(v["ansible_become"]) && user != "" && user != "root" {
		m.note("ansible_become of %s is off, and %s is not root: this program uses sudo there", name, inputfile.Quote(user))
	}
}

// longestValue is more than any name of a file has.
const longestValue = 4096

// plain is the first of a host's variables that has a value, if that can be
// taken as it is written. A template's text is not told: it may hold a secret.
func (m *model) plain(host string, v vars, keys ...string) string {
	for _, key := range keys {
		value := strings.TrimSpace(v[key])
		// The one template that only says where the file is.
		for _, here := range []string{"{{ inventory_dir }}", "{{inventory_dir}}"} {
			value = strings.ReplaceAll(value, here, m.dir)
		}
		switch {
		case value == "":
		case len(value) > longestValue:
			m.note("%s of %s has %d letters, and is not taken over", key, host, len(value))
		case strings.Contains(value, "{{"), strings.Contains(value, "{%"):
			m.note("%s of %s is made by a template, and not taken over", key, host)
		case strings.HasPrefix(value, vaultMark):
			m.note("%s of %s is locked by a vault, and not taken over", key, host)
		default:
			return value
		}
	}
	return ""
}

func falsy(text string) bool {
	return slices.Contains([]string{"no", "false", "off", "0", "n", "f"}, strings.ToLower(text))
}

func or(v, fallback string) string {
	if v == "" {
		return fallback
	}
	return v
}
