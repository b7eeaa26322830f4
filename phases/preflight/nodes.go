package preflight

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"

	corev1 "k8s.io/api/core/v1"
)

// nodeAddresses wants name, address and machine to be one node's.
func nodeAddresses(ctx context.Context, s Scene) ([]Finding, error) {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	out := slices.Concat(
		namesOfNodes(s, nodes),
		workersAddresses(s, nodes, workers),
		sharedAddresses(s, nodes, workers),
		lostNodes(s, nodes, workers),
		otherMachines(s, nodes))
	if len(out) == 0 {
		out = append(out, fine("%d nodes, each with an address of its own", len(nodes)))
	}
	return out, nil
}

// namesOfNodes: the spec's names are the Nodes' names. A kubelet with
// --hostname-override, and a host that was renamed, have others than their host.
func namesOfNodes(s Scene, nodes map[string]corev1.Node) []Finding {
	var out []Finding
	missing := func(h cluster.Host, field string, phases ...int) {
		if _, is := nodes[h.Name]; is {
			return
		}
		remedy := fmt.Sprintf("write the name that `kubectl get nodes -o wide` shows for it to %s", field)
		seen := fmt.Sprintf("%s is %s, and the cluster has no Node of that name", field, h.Name)
		if as := nodesAt(nodes, h.Address); len(as) == 1 {
			seen += fmt.Sprintf("; its address %s is that of the Node %s", h.Address, as[0])
			remedy = fmt.Sprintf("write name: %s to %s", as[0], field)
		}
		out = append(out, block(remedy, "%s", seen).on(h.Name).only(phases...))
	}
	missing(s.First(), "spec.controlPlane.first", 1, 2, 3)
	for _, w := range s.Spec().Workers {
		missing(w, "spec.workers", 1)
	}
	for _, h := range s.Spec().ControlPlane.Joining {
		n, is := nodes[h.Name]
		if have := kube.InternalIP(n); is && have != "" && !slices.Contains(internalIPs(n), h.Address) {
			out = append(out, block("give the host another name in spec.controlPlane.joining, or delete that Node when its machine is gone: `kubectl delete node "+h.Name+"`",
				"there is a Node %s already, at %s, and the spec's %s is at %s", h.Name, have, h.Name, h.Address).on(h.Name).only(3))
		}
	}
	return out
}

// workersAddresses is about workers that no spec names: they are reached at
// what their Node tells.
func workersAddresses(s Scene, nodes map[string]corev1.Node, workers []cluster.Host) []Finding {
	if s.Spec().Workers != nil {
		return nil
	}
	var out []Finding
	for _, w := range workers {
		ips := internalIPs(nodes[w.Name])
		switch {
		case len(ips) == 0:
			out = append(out, block("", "the Node %s has no InternalIP, so it is not known how to reach it", w.Name).on(w.Name).only(1))
		case len(ips) > 1 && s.Of(w.Name) == nil:
			out = append(out, block("", "the Node %s has the InternalIPs %s, and it was not reached at %s", w.Name, strings.Join(ips, ", "), w.Address).on(w.Name).only(1))
		}
	}
	return out
}

// sharedAddresses: two Nodes with one InternalIP are clones, or behind one
// address translation. Logging in there reaches one of them, or neither.
func sharedAddresses(s Scene, nodes map[string]corev1.Node, workers []cluster.Host) []Finding {
	by := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		for _, ip := range internalIPs(nodes[name]) {
			by[ip] = append(by[ip], name)
		}
	}
	var out []Finding
	for _, ip := range slices.Sorted(maps.Keys(by)) {
		if len(by[ip]) < 2 {
			continue
		}
		remedy := "give each kubelet the address of its own node: `--node-ip` in KUBELET_EXTRA_ARGS, then restart it"
		at := slices.ContainsFunc(workers, func(w cluster.Host) bool { return w.Address == ip })
		if at && s.Spec().Workers == nil {
			out = append(out, block("list the workers under spec.workers, each with the address at which it is reached; or "+remedy,
				"the Nodes %s have one InternalIP, %s", strings.Join(by[ip], ", "), ip).on(by[ip][0]).only(1))
			continue
		}
		out = append(out, warn(remedy, "the Nodes %s have one InternalIP, %s; the spec's addresses are used", strings.Join(by[ip], ", "), ip).on(by[ip][0]))
	}
	return out
}

// lostNodes are workers that are not Ready. Phase 1 points their kubelets to
// the endpoint and waits until the Node is Ready.
func lostNodes(s Scene, nodes map[string]corev1.Node, workers []cluster.Host) []Finding {
	var out []Finding
	for _, w := range workers {
		n, is := nodes[w.Name]
		if !is || kube.Ready(n) {
			continue
		}
		since := ""
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && !c.LastTransitionTime.IsZero() {
				since = " since " + c.LastTransitionTime.UTC().Format(time.DateTime) + " UTC"
			}
		}
		if s.Of(w.Name) == nil {
			out = append(out, block(fmt.Sprintf("when its machine is gone for good: `kubectl delete node %s`; else bring it back, or list the others under spec.workers", w.Name),
				"the Node %s is not Ready%s, and was not reached at %s", w.Name, since, w.Address).on(w.Name).only(1))
			continue
		}
		out = append(out, block("repair its kubelet (`journalctl -u kubelet` on it), or list the others under spec.workers",
			"the Node %s is not Ready%s: phase 1 would wait for its kubelet until the time is over", w.Name, since).on(w.Name).only(1))
	}
	return out
}

// otherMachines: what was logged in to as a node is the machine of that Node.
// The kubelet tells the machine ID that it found when it started (cadvisor:
// machine.GetInfo), so one that was changed since proves nothing; one that is
// another Node's does.
func otherMachines(s Scene, nodes map[string]corev1.Node) []Finding {
	var out []Finding
	for _, f := range s.Answered(migrate.FirstControlPlane, migrate.Workers) {
		n, is := nodes[f.host]
		if !is || f.MachineID == "" || n.Status.NodeInfo.MachineID == "" || sameMachine(f, n) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if name != f.host && sameMachine(f, nodes[name]) {
				out = append(out, block("", "what is reached as %s is the machine of the Node %s, by its machine ID", f.host, name).on(f.host))
				break
			}
		}
	}
	return out
}

func sameMachine(f *Facts, n corev1.Node) bool {
	plain := func(id string) string { return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(id), "-", "")) }
	return plain(f.MachineID) == plain(n.Status.NodeInfo.MachineID)
}

func nodesAt(nodes map[string]corev1.Node, address string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		if slices.Contains(internalIPs(nodes[name]), address) {
			out = append(out, name)
		}
	}
	return out
}

// internalIPs are all of them; a node in two networks, or with IPv4 and IPv6,
// has several.
func internalIPs(n corev1.Node) []string {
	var out []string
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && net.ParseIP(a.Address) != nil && !slices.Contains(out, a.Address) {
			out = append(out, a.Address)
		}
	}
	return out
}
