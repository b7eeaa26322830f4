package loadbalancer

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// Meaning is what the endpoint's host means on a node.
type Meaning struct {
	Node      string
	Addresses []string // sorted; none where it does not resolve
	// Wrong says which address is none of a load balancer's, "" where none is.
	Wrong string
	// Doubt says what can't be known before a connection is made.
	Doubt string
	// Fix is a command for the node that makes it mean the load balancer. Elsewhere
	// says that none does, and that Fix is a sentence.
	Fix       string
	Elsewhere bool
	// Followed: a kubeconfig on the node names the endpoint already.
	Followed bool

	own      []string // addresses of the node's devices
	lines    []hostsLine
	balanced map[string]bool // the addresses of the load balancers' hosts
	// On the way back: the address that it is to have again, and what is wrong
	// with those that it has, where they do not say it.
	back, through string
}

// hostsLine is a line of /etc/hosts that has the name.
type hostsLine struct {
	words   []string // of the line, without its comment
	address string
	others  []string // further names in it
}

// Meanings asks each of these nodes what the endpoint's host means there, and
// the load balancers' hosts which addresses they have: a virtual one counts.
func Meanings(ctx context.Context, v phases.Reader, nodes []string) ([]Meaning, error) {
	people, err := balancer.NodesAt(ctx, v)
	if err != nil {
		return nil, err
	}
	hosts := v.Spec().LoadBalancer.Hosts
	out, have := make([]Meaning, len(nodes)), make([][]string, len(hosts))
	err = parallel.Do(
		func() error {
			return parallel.Each(nodes, func(i int, node string) (err error) {
				out[i], err = meaningOn(ctx, v, node)
				return err
			})
		},
		func() error {
			return parallel.Each(hosts, func(i int, lb cluster.Host) error {
				text, err := v.On(lb.Name).Look(ctx, remote.Command{Script: "ip -o addr show scope global"})
				have[i] = append(deviceAddresses(text), lb.Address)
				return err
			})
		})
	if err != nil {
		return nil, fmt.Errorf("asking what %s means: %w", v.Spec().Endpoint.Host, err)
	}
	balanced := map[string]bool{}
	for i := range hosts {
		for _, a := range have[i] {
			balanced[a] = true
		}
	}
	for i := range out {
		out[i].balanced = balanced
		out[i].judge(v, balanced, people)
	}
	return out, nil
}

func meaningOn(ctx context.Context, v phases.Reader, node string) (Meaning, error) {
	name := v.Spec().Endpoint.Host
	script := fmt.Sprintf("getent ahosts %s || true\necho @@own\nip -o addr show scope global\necho @@followed\ngrep -F %s /etc/kubernetes/*.conf 2>/dev/null || true\necho @@hosts\ncat /etc/hosts 2>/dev/null || true\n",
		remote.Quote(name), remote.Quote("server: "+v.EndpointURL()))
	out, err := v.On(node).Look(ctx, remote.Command{Script: script})
	if err != nil {
		return Meaning{}, err
	}
	m := Meaning{Node: node}
	got, out, _ := strings.Cut(out, "@@own\n")
	own, out, _ := strings.Cut(out, "@@followed\n")
	followed, hosts, _ := strings.Cut(out, "@@hosts\n")
	m.own, m.Followed = deviceAddresses(own), strings.TrimSpace(followed) != ""
	if net.ParseIP(name) != nil {
		m.Addresses = []string{name}
		return m, nil
	}
	m.lines = linesFor(hosts, name)
	for line := range strings.Lines(got) {
		if words := strings.Fields(line); len(words) > 0 {
			m.Addresses = append(m.Addresses, words[0])
		}
	}
	// Kubernetes' own programs read all lines of the file; getent may not.
	for _, l := range m.lines {
		m.Addresses = append(m.Addresses, l.address)
	}
	slices.Sort(m.Addresses)
	m.Addresses = slices.Compact(m.Addresses)
	return m, nil
}

// linesFor are the lines of a hosts file that have a name; a resolver takes no
// notice of the case of letters.
func linesFor(hosts, name string) []hostsLine {
	var out []hostsLine
	for line := range strings.Lines(hosts) {
		text, _, _ := strings.Cut(line, "#")
		words := strings.Fields(text)
		if len(words) < 2 || net.ParseIP(words[0]) == nil {
			continue
		}
		is := func(s string) bool { return strings.EqualFold(strings.TrimSuffix(s, "."), name) }
		if slices.ContainsFunc(words[1:], is) {
			out = append(out, hostsLine{words, words[0], slices.DeleteFunc(slices.Clone(words[1:]), is)})
		}
	}
	return out
}

// deviceAddresses reads `ip -o addr show`: "2: eth0    inet 10.0.0.1/24 brd …".
func deviceAddresses(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 3 {
			address, _, _ := strings.Cut(words[3], "/")
			out = append(out, address)
		}
	}
	return out
}

// judge compares what the name means with where the load balancer is.
func (m *Meaning) judge(v phases.Reader, balanced map[string]bool, people map[string]string) {
	name := v.Spec().Endpoint.Host
	if len(m.Addresses) == 0 {
		m.Wrong = name + " does not resolve"
	}
	for _, a := range m.Addresses {
		ip := net.ParseIP(a)
		switch {
		case ip != nil && ip.IsLoopback():
			m.Wrong = fmt.Sprintf("%s means %s, which is the node itself", name, a)
		case balanced[a] && ip != nil && ip.To4() == nil:
			m.Doubt = fmt.Sprintf("%s means %s too, and the load balancer will listen on IPv4 only: clients try it first, without success", name, a)
		case balanced[a]:
		case people[a] != "":
			m.Wrong = fmt.Sprintf("%s means %s, which is %s", name, a, people[a])
		case slices.Contains(m.own, a) && balancers.Of(v.Spec()).Configured():
			m.Wrong = fmt.Sprintf("%s means %s, which is an address of the node itself", name, a)
		case balancers.Of(v.Spec()).Configured():
			m.Doubt = fmt.Sprintf("%s means %s, which is an address of no host in the spec", name, a)
		}
	}
	if m.Wrong != "" {
		if balancers.Of(v.Spec()).Configured() {
			m.Wrong += fmt.Sprintf(", and not the load balancer (%s)", addressesOf(v))
		}
		m.Fix = m.fix(name, balancerAddress(v))
		m.Elsewhere = m.linesMean(balancerAddress(v))
	}
}

func addressesOf(v phases.Reader) string {
	var out []string
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		out = append(out, lb.Name+", "+lb.Address)
	}
	return strings.Join(out, "; ")
}

// balancerAddress is what the name is to mean: the first host's; of somebody
// else's load balancer only they know it.
func balancerAddress(v phases.Reader) string {
	if !balancers.Of(v.Spec()).Configured() {
		return "ADDRESS-OF-THE-LOAD-BALANCER"
	}
	return v.Spec().LoadBalancer.Hosts[0].Address
}

// fix changes the lines of /etc/hosts that have the name, or adds one: it is
// asked before DNS. Lines are known by what they say, so that doing it twice, or
// after somebody has changed the file, changes nothing else. Where all lines are
// right, it says who is asked besides.
func (m *Meaning) fix(name, address string) string {
	if net.ParseIP(name) != nil {
		return ""
	}
	line := address + " " + name
	if len(m.lines) == 0 {
		return fmt.Sprintf("grep -qxF %[1]s /etc/hosts || echo %[1]s >>/etc/hosts", remote.Quote(line))
	}
	if m.linesMean(address) {
		others := slices.DeleteFunc(slices.Clone(m.Addresses), func(a string) bool { return a == address })
		return fmt.Sprintf("/etc/hosts is right. `getent ahosts %s` shows %s, too: it comes from DNS, or from another source in the line `hosts:` of /etc/nsswitch.conf. Change it there",
			name, strings.Join(others, ", "))
	}
	there := slices.ContainsFunc(m.lines, func(l hostsLine) bool { return l.address == address })
	command := "sed -i"
	for _, l := range m.lines {
		if l.address == address {
			continue
		}
		var to []string
		if len(l.others) > 0 {
			to = append(to, l.address+" "+strings.Join(l.others, " "))
		}
		if !there {
			to, there = append(to, line), true
		}
		do := "/" + l.pattern() + "/d"
		if len(to) > 0 {
			do = "s/" + l.pattern() + "/" + sedText.Replace(strings.Join(to, "\n")) + "/"
		}
		command += " -e " + remote.Quote(do)
	}
	return command + " /etc/hosts"
}

// linesMean says whether /etc/hosts has the name, for this address and no other.
func (m *Meaning) linesMean(address string) bool {
	return len(m.lines) > 0 && !slices.ContainsFunc(m.lines, func(l hostsLine) bool { return l.address != address })
}

// pattern is a line as sed finds it, whatever its spaces and its comment.
func (l hostsLine) pattern() string {
	words := make([]string, len(l.words))
	for i, w := range l.words {
		words[i] = sedPattern.Replace(w)
	}
	return `^\s*` + strings.Join(words, `\s\+`) + `\s*\(#.*\)\?$`
}

// What sed would not take as it is, in a pattern and in the text for it.
var (
	sedPattern = strings.NewReplacer(`\`, `\\`, `/`, `\/`, `.`, `\.`, `*`, `\*`, `[`, `\[`, `^`, `\^`, `$`, `\$`)
	sedText    = strings.NewReplacer(`\`, `\\`, `/`, `\/`, `&`, `\&`, "\n", `\n`)
)
