package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
)

// aliases replaces names and addresses, the same by the same. Names are known from
// the spec and from this machine; addresses are known by their form.
type aliases struct {
	known map[string]string
	order []string // as they were first seen
	count map[string]int
	names *regexp.Regexp // all known names, the longest first
	zones *regexp.Regexp // whatever stands below a known domain; nil: no domain is known
}

var (
	ip4       = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	ip6       = regexp.MustCompile(`[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*`)
	keyPrints = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`)
)

// ordinary are names that say nothing of anybody.
var ordinary = []string{"", "root", "localhost", "cluster"}

// aliasesOf takes the names from a spec, in its order, and from user@machine.
func aliasesOf(spec cluster.Spec, who string) *aliases {
	a := &aliases{known: map[string]string{}, count: map[string]int{}}
	hosts := []cluster.Host{spec.ControlPlane.First}
	for _, list := range [][]cluster.Host{spec.ControlPlane.Joining, spec.LoadBalancer.Hosts, spec.Etcd.Hosts, spec.Workers} {
		hosts = append(hosts, list...)
	}
	for _, h := range hosts {
		a.name("host", h.Name)
		a.address("address", h.Address)
		a.address("address", h.SSH.Address)
		a.name("user", h.SSH.User)
	}
	a.address("endpoint", spec.Endpoint.Host)
	a.name("cluster", spec.Name)
	a.name("user", spec.SSH.User)
	user, machine, _ := strings.Cut(who, "@")
	a.name("user", user)
	a.name("host", machine)
	a.compile()
	return a
}

// address is an IP address or a name.
func (a *aliases) address(kind, s string) {
	if _, err := netip.ParseAddr(s); err != nil {
		kind = strings.Replace(kind, "address", "host", 1)
	}
	a.name(kind, s)
}

// name makes an alias, unless there is one.
func (a *aliases) name(kind, s string) string {
	key := strings.ToLower(s)
	if slices.Contains(ordinary, key) {
		return s
	}
	if known, ok := a.known[key]; ok {
		return known
	}
	a.count[kind]++
	a.known[key] = fmt.Sprintf("%s-%d", kind, a.count[kind])
	a.order = append(a.order, key)
	return a.known[key]
}

func (a *aliases) compile() {
	var names, zones []string
	for _, n := range a.order {
		if _, err := netip.ParseAddr(n); err == nil {
			continue
		}
		names = append(names, regexp.QuoteMeta(n))
		if _, zone, _ := strings.Cut(n, "."); strings.Contains(zone, ".") && !slices.Contains(zones, regexp.QuoteMeta(zone)) {
			zones = append(zones, regexp.QuoteMeta(zone))
		}
	}
	longest := func(x, y string) int { return cmp.Compare(len(y), len(x)) }
	slices.SortFunc(names, longest)
	slices.SortFunc(zones, longest)
	if len(names) > 0 {
		a.names = regexp.MustCompile(`(?i)(^|[^A-Za-z0-9])(` + strings.Join(names, "|") + `)($|[^A-Za-z0-9])`)
	}
	if len(zones) > 0 {
		a.zones = regexp.MustCompile(`(?i)(?:[A-Za-z0-9_-]+\.)*(?:` + strings.Join(zones, "|") + `)`)
	}
}

// in replaces all that is known in a text.
func (a *aliases) in(text string) string {
	if a.zones != nil {
		text = a.zones.ReplaceAllStringFunc(text, func(s string) string { return a.name("name", s) })
	}
	if a.names != nil {
		// Twice: two names may share the character between them.
		for range 2 {
			text = a.names.ReplaceAllStringFunc(text, func(s string) string {
				m := a.names.FindStringSubmatch(s)
				return m[1] + a.known[strings.ToLower(m[2])] + m[3]
			})
		}
	}
	text = ip4.ReplaceAllStringFunc(text, a.ip)
	text = ip6.ReplaceAllStringFunc(text, a.ip)
	return keyPrints.ReplaceAllStringFunc(text, func(s string) string { return a.name("fingerprint", s) })
}

// ip replaces what is an IP address, of one machine or network. What every machine
// has stays.
func (a *aliases) ip(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.IsLoopback() || ip.IsUnspecified() {
		return s
	}
	return a.name("address", ip.String())
}

// pairs are the names that were known from the beginning or seen, with their aliases.
func (a *aliases) pairs() [][2]string {
	var out [][2]string
	for _, n := range a.order {
		out = append(out, [2]string{n, a.known[n]})
	}
	return out
}
