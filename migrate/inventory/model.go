package inventory

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"hamigrate/migrate/inputfile"
)

// vars are variables with their values as text; a mapping is flattened, its
// keys joined by dots.
type vars map[string]string

type group struct {
	name     string // as it is written
	hosts    []string
	has      map[string]bool // of hosts
	children []string
	vars     vars
	beside   vars // those of group_vars
}

// Bounds far above any inventory: a mistake shall not fill the memory.
const (
	maxGroups  = 5_000
	maxEntries = 100_000 // hosts in groups
)

// model is an inventory as it is written. Groups are known by their key.
type model struct {
	file    string
	dir     string // in which its group_vars are looked for
	groups  map[string]*group
	order   []string // of groups
	hosts   map[string]vars
	beside  map[string]vars // those of host_vars
	entries int
	parents map[string][]string // of groups and, under "host NAME", of hosts; made when reading is done
	depths  map[string]int
	notes   []string
}

func newModel(file string) *model {
	return &model{file: file, dir: filepath.Dir(file), groups: map[string]*group{}, hosts: map[string]vars{}, beside: map[string]vars{}}
}

// keyOf is what a group is known by. Ansible once had kube-node and has
// kube_node now.
func keyOf(name string) string { return strings.ReplaceAll(name, "-", "_") }

// group returns the group of that name, new where it is seen first.
func (m *model) group(name string) *group {
	key := keyOf(name)
	g := m.groups[key]
	if g == nil {
		g = &group{name: printable(name), has: map[string]bool{}, vars: vars{}, beside: vars{}}
		m.groups[key] = g
		m.order = append(m.order, key)
	}
	return g
}

// printable is a word of the inventory that can be shown on a terminal.
func printable(word string) string {
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(word)
	}
	return word
}

// isAddress says whether a word can be where a host is reached: a program that
// is given it must take it for one word, and for no option.
func isAddress(word string) bool {
	return word != "" && len(word) <= longestName && !strings.HasPrefix(word, "-") && !strings.ContainsFunc(word, unicode.IsSpace)
}

// isText refuses what no file of text holds: names of it could not be written
// anywhere else.
func (m *model) isText(data []byte) error {
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return fmt.Errorf("%s is no text in UTF-8, and so no inventory", m.file)
	}
	return nil
}

// addHost puts a host into a group, with more of its variables.
func (m *model) addHost(g *group, name string, v vars) error {
	if m.entries++; m.entries > maxEntries || len(m.groups) > maxGroups {
		return fmt.Errorf("more than %d hosts or %d groups are no inventory that is read here", maxEntries, maxGroups)
	}
	if err := checkName("host", name); err != nil {
		return err
	}
	if printable(name) != name || !isAddress(name) {
		return fmt.Errorf("%s is no name of a host", inputfile.Quote(name))
	}
	if !g.has[name] {
		g.has[name] = true
		g.hosts = append(g.hosts, name)
	}
	if m.hosts[name] == nil {
		m.hosts[name] = vars{}
	}
	maps.Copy(m.hosts[name], v)
	return nil
}

// longestName is that of a name in DNS (RFC 1035), beyond which no host and no
// group has one. What is named is compared, sorted and told of many times.
const longestName = 253

// checkName refuses a name before anything is done with it.
func checkName(what, name string) error {
	if len(name) > longestName {
		return fmt.Errorf("%s: it has %d letters, which no name of a %s has", inputfile.Quote(name), len(name), what)
	}
	return nil
}

// addChild puts a group into another, once.
func (m *model) addChild(g *group, name string) error {
	if err := checkName("group", name); err != nil {
		return err
	}
	m.group(name)
	if key := keyOf(name); !slices.Contains(g.children, key) {
		g.children = append(g.children, key)
	}
	return nil
}

// note adds a sentence once.
func (m *model) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(m.notes, s) {
		m.notes = append(m.notes, s)
	}
}

// members lists the hosts of groups and of the groups in them. Each group is
// visited once, whatever leads to it.
func (m *model) members(keys ...string) []string {
	var out []string
	seen, listed := map[string]bool{}, map[string]bool{}
	var visit func(key string)
	visit = func(key string) {
		g := m.groups[key]
		if g == nil || seen[key] {
			return
		}
		seen[key] = true
		for _, h := range g.hosts {
			if !listed[h] {
				out = append(out, h)
			}
			listed[h] = true
		}
		for _, child := range g.children {
			visit(child)
		}
	}
	for _, key := range keys {
		visit(key)
	}
	return out
}

// link knows who is in what, when everything was read, and names cycles.
func (m *model) link() {
	m.parents, m.depths = map[string][]string{}, map[string]int{}
	for _, key := range m.order {
		for _, child := range m.groups[key].children {
			m.parents[child] = append(m.parents[child], key)
		}
		for _, host := range m.groups[key].hosts {
			m.parents["host "+host] = append(m.parents["host "+host], key)
		}
	}
	onWay := []string{}
	for _, key := range m.order {
		m.depth(key, &onWay)
	}
}

// depth is how far a group is below all: the deeper one's variables win. What
// goes round in circles is told, and goes no further.
func (m *model) depth(key string, onWay *[]string) int {
	if d, known := m.depths[key]; known {
		return d
	}
	if at := slices.Index(*onWay, key); at >= 0 {
		var names []string
		for _, k := range slices.Concat((*onWay)[at:], []string{key}) {
			names = append(names, m.groups[k].name)
		}
		slices.Reverse(names) // from the outer to the inner one
		m.note("the groups %s contain each other, which Ansible refuses; each is read once", strings.Join(names, " > "))
		return 0
	}
	*onWay = append(*onWay, key)
	deepest := 0
	for _, parent := range m.parents[key] {
		deepest = max(deepest, 1+m.depth(parent, onWay))
	}
	*onWay = (*onWay)[:len(*onWay)-1]
	m.depths[key] = deepest
	return deepest
}

// groupsOf are all groups that a host is in, but for all, by Ansible's
// precedence: parents before children, then by priority and name.
func (m *model) groupsOf(host string) []string {
	var of []string
	seen := map[string]bool{"all": true}
	next := slices.Clone(m.parents["host "+host])
	for len(next) > 0 {
		key := next[0]
		next = next[1:]
		if !seen[key] {
			seen[key] = true
			of = append(of, key)
			next = append(next, m.parents[key]...)
		}
	}
	priority := func(key string) int {
		n, err := strconv.Atoi(m.groups[key].vars["ansible_group_priority"])
		if err != nil {
			return 1 // Ansible's default
		}
		return n
	}
	slices.SortFunc(of, func(a, b string) int {
		if d := m.depths[a] - m.depths[b]; d != 0 {
			return d
		}
		if d := priority(a) - priority(b); d != 0 {
			return d
		}
		return strings.Compare(m.groups[a].name, m.groups[b].name)
	})
	return of
}

// varsOf are a host's variables by Ansible's precedence: those of groups in
// the file, of group_vars, of the host in the file, of host_vars.
func (m *model) varsOf(host string) vars {
	out := vars{}
	of := m.groupsOf(host)
	if m.groups["all"] != nil {
		of = append([]string{"all"}, of...)
	}
	for _, key := range of {
		maps.Copy(out, m.groups[key].vars)
	}
	for _, key := range of {
		maps.Copy(out, m.groups[key].beside)
	}
	maps.Copy(out, m.hosts[host])
	maps.Copy(out, m.beside[host])
	return out
}
