// Package playbooks turns a phase's declaration into a runbook for a person:
// the same steps in the same order, with the commands and host names. The
// playbooks in this folder are those of the example spec; a test keeps them
// equal to what the declaration gives.
package playbooks

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"text/template"

	"hamigrate/migrate"
)

// Host is a machine as a playbook names it.
type Host struct{ Name, Address string }

// Data is what the commands of a step may name.
type Data struct {
	Cluster     string
	Endpoint    string // host:port
	First       Host   // the first control-plane node
	EtcdServers string // the API server's list of members
	// Balancer, Topology, EtcdBinary, Patches and Ignored are choices of the spec
	// as it has them; the last two may be "".
	Balancer, Topology, EtcdBinary, Patches, Ignored string
	// Parts are the texts that steps call by name, {{template "name" .}}: what
	// differs with a choice of the spec, as templates over Data.
	Parts map[string]string
	// Ways are all hosts with how they are reached.
	Ways []Way
	// Targets are the hosts of each selector; Once has none.
	Targets map[migrate.Selector][]Host
	// Target and Address are the host of the step at hand; set by Render.
	Target, Address string
}

// Render writes the playbook of a phase as Markdown.
func Render[V, H any](w io.Writer, p migrate.Phase[V, H], d Data) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Phase %d: %s\n\n%s\n\n", p.Number, p.Title, p.Why)
	fmt.Fprintf(&b, "Cluster %s, endpoint %s. These are the steps of `migrate run --phase %d`, for doing them by hand: one at a time, and each to its end before the next. Before every step: every API server answers `/readyz` with 200, every node is Ready, every etcd voter is healthy.\n\nThe commands are for root. kubectl is to have `KUBECONFIG=/etc/kubernetes/admin.conf` on a control-plane node and `KUBECONFIG=/etc/kubernetes/kubelet.conf` on a worker. A remark behind a command says what is to be seen. Where `certificatesDir` of kubeadm-config is another folder than /etc/kubernetes/pki, read that one for it.\n", d.Cluster, d.Endpoint, p.Number)
	head(&b, d)
	n := 0
	for i := 0; i < len(p.Steps); {
		j := i + 1
		for p.Steps[i].Rolling && j < len(p.Steps) && p.Steps[j].Rolling && p.Steps[j].On == p.Steps[i].On {
			j++
		}
		if err := section(&b, p.Steps[i:j], d, &n); err != nil {
			return err
		}
		i = j
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// section writes one step for all its targets, or a rolling group target by
// target.
func section[V, H any](b *strings.Builder, steps []migrate.Step[V, H], d Data, n *int) error {
	targets := d.Targets[steps[0].On]
	if len(targets) == 0 && steps[0].On == migrate.LoadBalancers {
		return nil // somebody else configures the load balancer
	}
	if len(targets) == 0 {
		targets = []Host{d.First}
	}
	if !steps[0].Rolling {
		*n++
		return paragraph(b, *n, steps[0], targets, d)
	}
	for _, t := range targets {
		for _, s := range steps {
			*n++
			if err := paragraph(b, *n, s, []Host{t}, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// paragraph writes one step. Commands that name their host are written out
// for each, others once.
func paragraph[V, H any](b *strings.Builder, n int, s migrate.Step[V, H], targets []Host, d Data) error {
	fmt.Fprintf(b, "\n## %d. %s\n\n", n, s.Title)
	if s.On == migrate.Once {
		fmt.Fprintf(b, "Once, for the cluster, from %s.", d.First.Name)
	} else {
		fmt.Fprintf(b, "On %s.", hostList(targets))
	}
	fmt.Fprintf(b, " %s", s.Why)
	if s.Outage > 0 {
		fmt.Fprintf(b, " **The API is away for up to %.0f seconds.**", s.Outage.Seconds())
	}
	b.WriteString("\n\n")
	tmpl, err := template.New(string(s.ID)).Option("missingkey=error").Parse(s.ByHand)
	for _, name := range slices.Sorted(maps.Keys(d.Parts)) {
		if err == nil {
			_, err = tmpl.New(name).Parse(d.Parts[name])
		}
	}
	if err != nil {
		return fmt.Errorf("reading how to do %s by hand: %w", s.ID, err)
	}
	last := ""
	for _, t := range targets {
		d.Target, d.Address = t.Name, t.Address
		var text strings.Builder
		if err := tmpl.Execute(&text, d); err != nil {
			return fmt.Errorf("writing how to do %s by hand: %w", s.ID, err)
		}
		if text.String() != last {
			b.WriteString(text.String())
		}
		last = text.String()
	}
	return nil
}

func hostList(targets []Host) string {
	var out []string
	for _, t := range targets {
		out = append(out, fmt.Sprintf("%s (%s)", t.Name, t.Address))
	}
	list := strings.Join(out, ", ")
	if len(out) > 1 {
		list += ", one after the other"
	}
	return list
}

// EndpointHost is the endpoint's name or address, without its port.
func (d Data) EndpointHost() string {
	host, _, err := net.SplitHostPort(d.Endpoint)
	if err != nil {
		return d.Endpoint
	}
	return host
}
