package support

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
	// before stands before each alias where hosts are called host-1 themselves.
	before string
	names  *regexp.Regexp // all known names, the longest first
	zones  *regexp.Regexp // whatever stands below a known domain; nil: no domain is known
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
	var named [][2]string // kinds and names
	name := func(kind, s string) { named = append(named, [2]string{kind, s}) }
	address := func(kind, s string) {
		if _, err := netip.ParseAddr(s); err != nil {
			kind = strings.Replace(kind, "address", "host", 1)
		}
		name(kind, s)
	}
	hosts := []cluster.Host{spec.ControlPlane.First}
	for _, list := range [][]cluster.Host{spec.ControlPlane.Joining, spec.LoadBalancer.Hosts, spec.Etcd.Hosts, spec.Workers} {
		hosts = append(hosts, list...)
	}
	for _, h := range hosts {
		name("host", h.Name)
		address("address", h.Address)
		address("address", h.SSH.Address)
		name("user", h.SSH.User)
	}
	address("endpoint", spec.Endpoint.Host)
	name("cluster", spec.Name)
	name("user", spec.SSH.User)
	user, machine, _ := strings.Cut(who, "@")
	name("user", user)
	name("host", machine)

	a := &aliases{known: map[string]string{}, count: map[string]int{}}
	for slices.ContainsFunc(named, func(n [2]string) bool { return a.looksLikeAlias(n[1]) }) {
		a.before += "anon-"
	}
	for _, n := range named {
		a.name(n[0], n[1])
	}
	a.compile()
	return a
}

// aliasKinds are what an alias begins with.
var aliasKinds = []string{"host", "address", "endpoint", "user", "cluster", "name", "fingerprint"}

// looksLikeAlias says that a name could be taken for an alias, so that nobody could
// tell which it is.
func (a *aliases) looksLikeAlias(name string) bool {
	return slices.ContainsFunc(aliasKinds, func(kind string) bool { return strings.Contains(strings.ToLower(name), a.before+kind+"-") })
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
	a.known[key] = fmt.Sprintf("%s%s-%d", a.before, kind, a.count[kind])
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

// firstMark is the first of the characters that stand for aliases until all that is
// known was looked for: in an alias nothing is looked for. No text has them: they
// are for private use.
const firstMark, lastMark = '\U000F0000', '\U0010FFFD'

// in replaces all that is known in a text.
func (a *aliases) in(text string) string {
	text = strings.Map(func(r rune) rune {
		if r >= firstMark && r <= lastMark {
			return '\uFFFD'
		}
		return r
	}, text)
	var put []string
	mark := func(kind, s string) string {
		alias := a.name(kind, s)
		if alias == s || firstMark+rune(len(put)) > lastMark {
			return alias
		}
		put = append(put, alias)
		return string(firstMark + rune(len(put)-1))
	}
	text = keyPrints.ReplaceAllStringFunc(text, func(s string) string { return mark("fingerprint", s) })
	if a.zones != nil {
		text = a.zones.ReplaceAllStringFunc(text, func(s string) string { return mark("name", s) })
	}
	ip := func(s string) string { return a.ip(s, mark) }
	text = ip6.ReplaceAllStringFunc(ip4.ReplaceAllStringFunc(text, ip), ip)
	text = a.namesIn(text, mark)
	var out strings.Builder
	for _, r := range text {
		if r >= firstMark && r <= lastMark {
			out.WriteString(put[r-firstMark])
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// namesIn replaces the known names. Two may share the character between them.
func (a *aliases) namesIn(text string, mark func(kind, s string) string) string {
	if a.names == nil {
		return text
	}
	var out strings.Builder
	for {
		m := a.names.FindStringSubmatchIndex(text)
		if m == nil {
			return out.String() + text
		}
		out.WriteString(text[:m[4]] + mark("name", text[m[4]:m[5]]))
		text = text[m[5]:]
	}
}

// ip replaces what is an IP address, of one machine or network. What every machine
// has stays.
func (a *aliases) ip(s string, mark func(kind, s string) string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.IsLoopback() || ip.IsUnspecified() {
		return s
	}
	return mark("address", ip.String())
}

// pairs are the names that were known from the beginning or seen, with their aliases.
func (a *aliases) pairs() [][2]string {
	var out [][2]string
	for _, n := range a.order {
		out = append(out, [2]string{n, a.known[n]})
	}
	return out
}
