// Package inventory reads Ansible inventories, INI and YAML: which hosts are
// in the groups that Kubespray and its relatives use, and how Ansible reaches
// them. It takes over what a spec file can say and names what it cannot.
//
// Not read are programs that print an inventory, group_vars and host_vars
// beside it, and values made by templates or locked by a vault. `ansible-inventory
// -i FILE --list --yaml` gives all of them in one file that can be read.
package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxSize is far above any inventory.
const maxSize = 8 << 20

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

// Inventory is what a spec is made from, in the order of the file.
type Inventory struct {
	File          string
	ControlPlane  []Host // kube_control_plane
	Etcd          []Host // etcd
	Workers       []Host // kube_node, without control-plane nodes
	LoadBalancers []Host // the first that is there of loadbalancer, lb, …
	// Endpoint is Kubespray's loadbalancer_apiserver, host:port, or "".
	Endpoint string
	// Notes are sentences about what is not taken over.
	Notes []string
}

// balancerGroups are the names under which people keep load balancers.
func balancerGroups() []string {
	return []string{"loadbalancer", "loadbalancers", "load_balancer", "load_balancers", "lb", "lbs"}
}

// Read reads an inventory file. Errors name the file and, where there is one,
// the line.
func Read(file string) (Inventory, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Inventory{}, fmt.Errorf("there is no inventory %s (%w)", file, fs.ErrNotExist)
	case err != nil:
		return Inventory{}, fmt.Errorf("reading the inventory: %w", err)
	case info.IsDir():
		return Inventory{}, fmt.Errorf("the inventory %s is a folder; make one file of it with: ansible-inventory -i %s --list --yaml > hosts.yml", file, file)
	case info.Size() > maxSize:
		return Inventory{}, fmt.Errorf("the inventory %s has %d bytes, which is no inventory", file, info.Size())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Inventory{}, fmt.Errorf("reading the inventory: %w", err)
	}
	if strings.HasPrefix(string(data), "#!") {
		return Inventory{}, fmt.Errorf("the inventory %s is a program; write down what it prints with: ansible-inventory -i %s --list --yaml > hosts.yml", file, file)
	}
	return Parse(file, data)
}

// Parse is Read for a file that was read already; its name decides whether it
// is YAML (.yml, .yaml, .json) or INI.
func Parse(file string, data []byte) (Inventory, error) {
	m := newModel(file)
	parse := m.ini
	if slices.Contains([]string{".yml", ".yaml", ".json"}, strings.ToLower(filepath.Ext(file))) {
		parse = m.yaml
	}
	if err := parse(data); err != nil {
		return Inventory{}, err
	}
	return m.inventory()
}

// vars are variables with their values as text; a mapping is flattened, its
// keys joined by dots.
type vars map[string]string

type group struct {
	name     string
	hosts    []string
	children []string
	vars     vars
}

// model is an inventory as it is written.
type model struct {
	file   string
	groups map[string]*group
	order  []string // of groups
	hosts  map[string]vars
	notes  []string
}

func newModel(file string) *model {
	return &model{file: file, groups: map[string]*group{}, hosts: map[string]vars{}}
}

// group returns the group of that name, new where it is seen first. Ansible
// once had kube-node and has kube_node now.
func (m *model) group(name string) *group {
	name = strings.ReplaceAll(name, "-", "_")
	g := m.groups[name]
	if g == nil {
		g = &group{name: name, vars: vars{}}
		m.groups[name] = g
		m.order = append(m.order, name)
	}
	return g
}

// addHost puts a host into a group, with more of its variables.
func (m *model) addHost(g *group, name string, v vars) {
	if !slices.Contains(g.hosts, name) {
		g.hosts = append(g.hosts, name)
	}
	if m.hosts[name] == nil {
		m.hosts[name] = vars{}
	}
	maps.Copy(m.hosts[name], v)
}

// note adds a sentence once.
func (m *model) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(m.notes, s) {
		m.notes = append(m.notes, s)
	}
}

// members lists the hosts of a group and of the groups in it.
func (m *model) members(name string, seen ...string) []string {
	g := m.groups[name]
	if g == nil || slices.Contains(seen, name) {
		return nil
	}
	out := slices.Clone(g.hosts)
	for _, child := range g.children {
		for _, h := range m.members(child, append(seen, name)...) {
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// depth is how far a group is below all: the deeper one's variables win.
func (m *model) depth(name string, seen ...string) int {
	deepest := 0
	for _, parent := range m.order {
		if slices.Contains(m.groups[parent].children, name) && !slices.Contains(seen, parent) {
			deepest = max(deepest, 1+m.depth(parent, append(seen, name)...))
		}
	}
	return deepest
}

// varsOf are a host's variables by Ansible's precedence: all, then parents
// before children (by name where equal), then the host's own.
func (m *model) varsOf(host string) vars {
	var of []string
	for _, name := range m.order {
		if name != "all" && slices.Contains(m.members(name), host) {
			of = append(of, name)
		}
	}
	slices.SortStableFunc(of, func(a, b string) int {
		if d := m.depth(a) - m.depth(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	out := vars{}
	if all := m.groups["all"]; all != nil {
		maps.Copy(out, all.vars)
	}
	for _, name := range of {
		maps.Copy(out, m.groups[name].vars)
	}
	maps.Copy(out, m.hosts[host])
	return out
}

// inventory picks what a spec is made from.
func (m *model) inventory() (Inventory, error) {
	first := m.members("kube_control_plane")
	if len(first) == 0 {
		return Inventory{}, fmt.Errorf("the inventory %s has no host in a group kube_control_plane; its groups are: %s",
			m.file, strings.Join(m.order, ", "))
	}
	out := Inventory{File: m.file}
	read := func(names []string) (list []Host) {
		for _, name := range names {
			list = append(list, m.host(name))
		}
		return list
	}
	out.ControlPlane = read(first)
	out.Etcd = read(m.members("etcd"))
	for _, h := range read(m.members("kube_node")) {
		if !slices.Contains(first, h.Name) {
			out.Workers = append(out.Workers, h)
		}
	}
	for _, name := range balancerGroups() {
		if list := m.members(name); len(list) > 0 {
			out.LoadBalancers = read(list)
			break
		}
	}
	v := m.varsOf(first[0])
	if address := m.plain(v, "loadbalancer_apiserver.address"); address != "" {
		out.Endpoint = net.JoinHostPort(address, or(m.plain(v, "loadbalancer_apiserver.port"), "6443"))
	}
	m.beside()
	out.Notes = m.notes
	return out, nil
}

// beside says what lies beside the file and is not read.
func (m *model) beside() {
	for _, name := range []string{"group_vars", "host_vars"} {
		dir := filepath.Join(filepath.Dir(m.file), name)
		if _, err := os.Stat(dir); err == nil {
			m.note("%s is not read; `ansible-inventory -i %s --list --yaml > hosts.yml` makes one file of it all", dir, m.file)
		}
	}
}

// host reads how Ansible reaches a host.
func (m *model) host(name string) Host {
	v := m.varsOf(name)
	h := Host{
		Name:         name,
		Address:      or(m.plain(v, "ip"), m.plain(v, "access_ip")),
		SSHAddress:   or(m.plain(v, "ansible_host", "ansible_ssh_host"), name),
		User:         m.plain(v, "ansible_user", "ansible_ssh_user"),
		IdentityFile: m.plain(v, "ansible_ssh_private_key_file", "ansible_private_key_file"),
	}
	if text := m.plain(v, "ansible_port", "ansible_ssh_port"); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			m.note("ansible_port %q of %s is not a port", text, name)
		} else {
			h.Port = port
		}
	}
	for _, key := range []string{"ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"} {
		jump, rest := sshArgs(m.plain(v, key))
		h.ProxyJump = or(h.ProxyJump, jump)
		if len(rest) > 0 {
			m.note("%s has `%s`, which is not taken over: what it is for belongs into ~/.ssh/config", key, strings.Join(rest, " "))
		}
	}
	m.refused(name, v)
	return h
}

// refused says what of a host's variables means something here and cannot be
// taken over.
func (m *model) refused(name string, v vars) {
	for _, key := range []string{"ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"} {
		if v[key] != "" {
			m.note("%s is not taken over: log in with a key; sudo's password is asked for on the terminal", key)
		}
	}
	if c := m.plain(v, "ansible_connection"); c != "" && c != "ssh" && c != "smart" && c != "paramiko" && c != "paramiko_ssh" {
		m.note("ansible_connection of %s is %s, and this program has SSH only: it must be reachable by SSH", name, c)
	}
	if how := m.plain(v, "ansible_become_method"); how != "" && how != "sudo" {
		m.note("ansible_become_method of %s is %s, and this program has sudo only", name, how)
	}
	if who := m.plain(v, "ansible_become_user"); who != "" && who != "root" {
		m.note("ansible_become_user of %s is %s; this program needs root's rights", name, who)
	}
	if user := m.plain(v, "ansible_user", "ansible_ssh_user"); falsy(v["ansible_become"]) && user != "" && user != "root" {
		m.note("ansible_become of %s is off, and %s is not root: this program uses sudo there", name, user)
	}
}

// plain is the first of the variables that has a value, if that can be taken
// as it is written.
func (m *model) plain(v vars, keys ...string) string {
	for _, key := range keys {
		value := strings.TrimSpace(v[key])
		switch {
		case value == "":
		case strings.Contains(value, "{{"), strings.Contains(value, "{%"):
			m.note("%s is made by a template (%s) and not taken over", key, value)
		case strings.HasPrefix(value, "$ANSIBLE_VAULT"):
			m.note("%s is locked by a vault and not taken over", key)
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
