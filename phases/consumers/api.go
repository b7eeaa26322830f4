package consumers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	corev1 "k8s.io/api/core/v1"
)

// phaseOneMaps name the API too, and phase 1 changes them.
var phaseOneMaps = []string{"ConfigMap kube-public/cluster-info", "ConfigMap kube-system/kube-proxy", "ConfigMap kube-system/kubeadm-config"}

// APIElsewhere lists the settings of programs in the cluster that send them to
// the API server of the first control-plane node, by any of its addresses or by
// a name that means it there. What names the endpoint is not among them, nor
// what phase 1 changes.
func APIElsewhere(ctx context.Context, v phases.Reader) ([]kube.APIName, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	workloads, err := k.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	all, err := k.APINames(ctx, workloads)
	if err != nil {
		return nil, err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	own := firstsNames(v, nodes[v.First().Name])
	means, err := resolveOnFirst(ctx, v, unresolved(all, own, v.Spec().Endpoint.Host))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n kube.APIName) bool {
		host := strings.ToLower(strings.TrimSuffix(n.Host, "."))
		toFirst := slices.Contains(own, host) || slices.ContainsFunc(means[host], func(a string) bool {
			// A host's own name is 127.0.1.1 there on Debian, and leads to the
			// node from everywhere else.
			return slices.Contains(own, a) || strings.HasPrefix(a, "127.0.1.")
		})
		return !toFirst || slices.Contains(phaseOneMaps, n.Object) || strings.EqualFold(host, v.Spec().Endpoint.Host)
	}), nil
}

// firstsNames are the addresses and names of the first control-plane node.
func firstsNames(v phases.Reader, n corev1.Node) []string {
	own := []string{strings.ToLower(v.First().Name), v.First().Address}
	for _, a := range n.Status.Addresses {
		own = append(own, strings.ToLower(a.Address))
	}
	return own
}

// unresolved lists the names, of all hosts named, that are to be looked up.
func unresolved(all []kube.APIName, own []string, endpoint string) []string {
	var out []string
	for _, n := range all {
		host := strings.ToLower(strings.TrimSuffix(n.Host, "."))
		switch {
		case net.ParseIP(host) != nil, host == "localhost", strings.HasPrefix(host, "kubernetes.default"), strings.EqualFold(host, endpoint):
		case slices.Contains(own, host), slices.Contains(out, host):
		default:
			out = append(out, host)
		}
	}
	return out
}

// resolveOnFirst looks names up on the first control-plane node, all at once and
// each name server for a second (resolv.conf(5)): one that is away must not hold
// up the others.
func resolveOnFirst(ctx context.Context, v phases.Reader, names []string) (map[string][]string, error) {
	if len(names) == 0 {
		return map[string][]string{}, nil
	}
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, remote.Quote(n))
	}
	script := "for n in " + strings.Join(quoted, " ") + "; do RES_OPTIONS='timeout:1 attempts:1' getent ahostsv4 \"$n\" | while read -r a rest; do echo \"$n $a\"; done & done; wait"
	out, err := v.On(v.First().Name).Look(ctx, remote.Command{Script: script})
	if err != nil {
		return nil, fmt.Errorf("looking up names on %s: %w", v.First().Name, err)
	}
	means := map[string][]string{}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) == 2 {
			means[words[0]] = append(means[words[0]], words[1])
		}
	}
	return means, nil
}
