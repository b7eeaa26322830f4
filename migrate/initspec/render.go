package initspec

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"hamigrate/migrate/cluster"
)

// fillIn begins the comment of every blank, so that an editor finds them.
const fillIn = "FILL IN: "

// Render writes the spec file.
func Render(f Found, c Choice) ([]byte, error) {
	top := mapping(
		entry("apiVersion", text("migrate/v1alpha1")),
		entry("kind", text("Migration")),
		entry("metadata", mapping(entry("name", text(name(f))).about(
			"The name of this migration. `migrate run` asks for it before each phase, so that\nthe wrong terminal is noticed; give it one that tells your clusters apart."))),
		entry("spec", mapping(
			endpoint(f, c), ssh(c), balancers(c), members(f, c), controlPlane(f, c), workers(f, c),
		)),
	)
	top.HeadComment = head(f, c)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(top); err != nil {
		return nil, fmt.Errorf("writing the spec: %w", err)
	}
	return airy(b.Bytes()), nil
}

// airy puts an empty line before each block of spec that begins with a
// comment, and behind the head of the file.
func airy(data []byte) []byte {
	var out []string
	before := ""
	for _, line := range strings.Split(string(data), "\n") {
		comment := strings.HasPrefix(line, "  # ") && !strings.HasPrefix(strings.TrimSpace(before), "#")
		if comment && before != "spec:" && before != "metadata:" || strings.HasPrefix(line, "apiVersion:") {
			out = append(out, "")
		}
		out = append(out, line)
		before = line
	}
	return []byte(strings.Join(out, "\n"))
}

// BlankField is a blank of a spec file, as the loader of specs sees it.
type BlankField struct {
	Line  int    `json:"line"`
	Field string `json:"field"`
	What  string `json:"what"` // the loader's sentence
}

// Blanks gives a rendered spec to the loader and returns what it misses. An
// error is a mistake that is no blank: it would be one of this program.
func Blanks(file string, data []byte) ([]BlankField, error) {
	_, err := cluster.ParseBytes(file, data)
	if err == nil {
		return []BlankField{}, nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, err
	}
	out := []BlankField{}
	for _, one := range joined.Unwrap() {
		var field *cluster.FieldError
		if !errors.As(one, &field) || !field.Blank {
			return nil, one
		}
		out = append(out, BlankField{field.Line, field.Field, field.Problem})
	}
	return out, nil
}

// name is what tells this cluster from others: kubeadm's default does not.
func name(f Found) string {
	if f.Cluster == "" || f.Cluster == "kubernetes" {
		return f.First.Name
	}
	allowed := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.", r) {
			return r
		}
		return '-'
	}, strings.ToLower(f.Cluster))
	return or(strings.Trim(allowed, "-."), f.First.Name)
}

func head(f Found, c Choice) string {
	var b strings.Builder
	b.WriteString("Written by `migrate init`. What is filled in was found on the cluster;\nwhat is marked FILL IN is yours to choose. docs/spec.md explains every field.\n\nFound:\n")
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("cluster", "%s, Kubernetes %s, %s", f.Cluster, f.KubernetesVersion, f.KubeadmAPI)
	line("API server", "%s on %s, control-plane endpoint: %s", hostPort(f.First.Address, f.APIPort), f.First.Name, or(f.ControlPlaneEndpoint, "none"))
	line("etcd", "%s, one member (%s, %s), listens on %s", f.Etcd.Version, f.Etcd.Name, strings.Join(f.Etcd.PeerURLs, ","), f.Etcd.ListenClient)
	line("networks", "services %s, pods %s: no host of this file may have an address there", or(f.ServiceSubnet, "unknown"), or(f.PodSubnet, "unknown"))
	for _, n := range f.Workers {
		line("worker", "%s %s, %s", n.Name, or(n.Address, "without InternalIP"), n.Version)
	}
	if notes := append(append([]string{}, f.Notes...), c.Notes...); len(notes) > 0 {
		b.WriteString("\nMind:\n")
		for _, n := range notes {
			b.WriteString("- " + n + "\n")
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func endpoint(f Found, c Choice) *node {
	about := "The new control-plane endpoint: host name or IP address, and port. Clients will use it\n" +
		"from then on, so a name that you can point elsewhere later is better than an address.\n" +
		"It leads to the load balancer, and never to one control-plane node."
	e := entry("endpoint", text(c.Endpoint)).about(about)
	if c.Endpoint == "" {
		example := "api.example.net:6443, or the load balancer's address, 10.0.0.5:6443"
		if len(c.LoadBalancers) > 0 && c.LoadBalancers[0].Address != "" {
			example = hostPort(c.LoadBalancers[0].Address, "6443") + ", the load balancer's own address"
		}
		if f.ControlPlaneEndpoint != "" && !strings.HasPrefix(f.ControlPlaneEndpoint, f.First.Address+":") {
			// Without a port it is the API server's (kubeadm: util/endpoint.go).
			example = f.ControlPlaneEndpoint
			if _, _, err := net.SplitHostPort(example); err != nil {
				example = hostPort(example, f.APIPort)
			}
			example += ", which kubeadm-config has already"
		}
		e.blank("host:port, such as " + example)
	}
	return e
}

// ssh is the block of how hosts are reached, with the bastions, which
// ~/.ssh/config has to know.
func ssh(c Choice) *node {
	about := "How hosts are reached. Left out here is what ~/.ssh/config says, or else root, port 22, your\nagent and ~/.ssh/known_hosts. A host may have an ssh: block of its own. docs/ssh.md has more."
	if len(c.Jumps) > 0 {
		about += "\nThe inventory reaches hosts through a bastion; this must stand in ~/.ssh/config:\n" + JumpConfig(c.Jumps)
	}
	body := sshBody(c.SSH)
	body.Content = append(body.Content, key("become"), text("auto"))
	body.Content[len(body.Content)-1].LineComment = "# sudo where the user is not root; its password is asked for on the terminal"
	return entry("ssh", body).about(about)
}

// JumpConfig is what ~/.ssh/config has to say for hosts behind bastions.
func JumpConfig(jumps []Jump) string {
	var b strings.Builder
	for _, j := range jumps {
		fmt.Fprintf(&b, "  Host %s\n    ProxyJump %s\n", strings.Join(j.Hosts, " "), j.Via)
	}
	return strings.TrimRight(b.String(), "\n")
}

func sshBody(s SSH) *yaml.Node {
	var entries []*node
	if s.User != "" {
		entries = append(entries, entry("user", text(s.User)))
	}
	if s.Port != 0 {
		entries = append(entries, entry("port", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(s.Port)}))
	}
	if s.IdentityFile != "" {
		entries = append(entries, entry("identityFile", text(s.IdentityFile)))
	}
	if s.Address != "" {
		entries = append(entries, entry("address", text(s.Address)))
	}
	return mapping(entries...)
}

func balancers(c Choice) *node {
	return entry("loadBalancer", mapping(
		entry("kind", text("nginx")),
		entry("hosts", hosts(c.LoadBalancers, 1, "a host for the load balancer, such as lb")),
	)).about("What stands in front of the API servers: a host outside of the cluster, or several.\nkind: nginx, or haproxy, which asks the API servers whether they are ready, or external, without hosts.\nnginx or HAProxy may be there and serve something else, or is installed.")
}

func members(f Found, c Choice) *node {
	return entry("etcd", mapping(
		entry("topology", text("external")),
		entry("hosts", hosts(c.Etcd, 1, "a host for an etcd member, such as e")),
		entry("binary", text("from-control-plane")).about("The same etcd that runs now ("+f.Etcd.Version+") is copied out of its container; nothing is downloaded."),
	)).about("The hosts that etcd moves to: 3 (or 5), none of them a control-plane node or a load balancer,\nwith fast disks. Each needs systemd and nothing else.")
}

func controlPlane(f Found, c Choice) *node {
	first := mapping(entry("name", text(f.First.Name)), entry("address", text(f.First.Address)))
	if body := sshBody(c.First); len(body.Content) > 0 {
		first.Content = append(first.Content, key("ssh"), body)
	}
	return entry("controlPlane", mapping(
		entry("first", first).about("The control-plane node that is there; the address is the one its API server advertises."),
		entry("joining", hosts(c.Joining, 2, "the name that the new Node shall have, such as cp")).
			about("The nodes that join as control-plane nodes, 2 or more. They need containerd, kubelet and\nkubeadm "+f.KubernetesVersion+", and no cluster yet."),
	))
}

// workers is left out where every other Node is reached as all hosts are.
func workers(f Found, c Choice) *node {
	if c.Workers != nil {
		return entry("workers", hosts(c.Workers, 1, "the name of the Node, such as w")).
			about("The workers, in the order in which their kubelets are moved.")
	}
	without := false
	var list []Host
	for _, n := range f.Workers {
		without = without || n.Address == ""
		list = append(list, Host{Name: n.Name, Address: n.Address})
	}
	if without {
		return entry("workers", hosts(list, 1, "the name of the Node, such as w")).
			about("The workers, in the order in which their kubelets are moved. They are listed because one of\nthem has no InternalIP.")
	}
	return nil
}

// hosts is a list of hosts, blanks included: what a name is for, ending in an
// example that is numbered from first on.
func hosts(list []Host, first int, what string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i, h := range list {
		n, a := entry("name", text(h.Name)), entry("address", text(h.Address))
		if h.Name == "" {
			n.blank(what + strconv.Itoa(first+i))
		}
		if h.Address == "" {
			a.blank("its IP address, the one other hosts use to reach it")
		}
		m := mapping(n, a)
		if body := sshBody(h.SSH); len(body.Content) > 0 {
			m.Content = append(m.Content, key("ssh"), body)
		}
		out.Content = append(out.Content, m)
	}
	return out
}

// node is an entry of a mapping.
type node struct{ key, value *yaml.Node }

func entry(name string, value *yaml.Node) *node { return &node{key(name), value} }

// about puts a comment above the entry.
func (n *node) about(comment string) *node {
	n.key.HeadComment = comment
	return n
}

// blank empties the entry and says beside it what belongs there.
func (n *node) blank(what string) {
	n.value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", LineComment: "# " + fillIn + what}
}

func mapping(entries ...*node) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, e := range entries {
		if e != nil {
			m.Content = append(m.Content, e.key, e.value)
		}
	}
	return m
}

func key(name string) *yaml.Node { return text(name) }

// text is a scalar, quoted where YAML would take it for something else.
func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func hostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}
