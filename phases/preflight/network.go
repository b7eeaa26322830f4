package preflight

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
	"hamigrate/phases/loadbalancer"
)

// hostAddresses compares the spec's address with the host's own and, of a
// node, with the one that the cluster knows.
func hostAddresses(ctx context.Context, s Scene) ([]Finding, error) {
	f, want := s.Facts(), s.Self().Address
	if len(f.Addresses) == 0 {
		return []Finding{warn("look with `ip -4 addr`", "it does not say which addresses it has")}, nil
	}
	if !slices.Contains(f.Addresses, want) {
		seen := fmt.Sprintf("the spec's address %s is none of its own: %s", want, strings.Join(f.Addresses, ", "))
		if f.role == migrate.Workers || f.role == migrate.LoadBalancers {
			return []Finding{warn("", "%s", seen)}, nil
		}
		return []Finding{block("", "%s", seen)}, nil
	}
	if f.role == migrate.FirstControlPlane || f.role == migrate.Workers {
		if f, differs, err := nodeAddress(ctx, s, want); err != nil || differs {
			return []Finding{f}, err
		}
	}
	if len(f.Addresses) > 1 && f.role == migrate.JoiningControlPlanes {
		return []Finding{warn("pin it: KUBELET_EXTRA_ARGS=--node-ip="+want+" in /etc/default/kubelet (/etc/sysconfig/kubelet)",
			"it has several addresses (%s), and its kubelet may take another one than %s", strings.Join(f.Addresses, ", "), want)}, nil
	}
	return []Finding{fine("%s is its own, of %d", want, len(f.Addresses))}, nil
}

// nodeAddress compares with the Node's InternalIP.
func nodeAddress(ctx context.Context, s Scene, want string) (Finding, bool, error) {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return Finding{}, false, err
	}
	n, known := nodes[s.Target()]
	if have := kube.InternalIP(n); known && have != "" && have != want {
		return warn("find out which of the two the other hosts reach, and write that one",
			"its Node has the InternalIP %s, and the spec says %s", have, want), true, nil
	}
	return Finding{}, false, nil
}

// endpointName wants one meaning of it on all nodes, and that this is the load
// balancer: the documentation's own way to keep a cluster ready for one is a
// name that means the first control-plane node meanwhile, and through that name
// everything answers without a load balancer.
func endpointName(ctx context.Context, s Scene) ([]Finding, error) {
	var nodes []string
	for _, f := range s.Answered(migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.Workers) {
		nodes = append(nodes, f.host)
	}
	all, err := loadbalancer.Meanings(ctx, s.Reader, nodes)
	if err != nil {
		return nil, err
	}
	name := s.Spec().Endpoint.Host
	first := firstStep(s, all)
	var out []Finding
	meanings := map[string][]string{}
	for _, m := range all {
		meanings[strings.Join(m.Addresses, ", ")] = append(meanings[strings.Join(m.Addresses, ", ")], m.Node)
		switch {
		case m.Wrong != "":
			out = append(out, block(fixName(s, m, first), "%s", m.Wrong).on(m.Node))
		case m.Doubt != "":
			out = append(out, warn("`ip addr` on the load balancer's host shows the address that it is to mean; phase 1 proves the way before it moves any client, and stops where it leads elsewhere",
				"%s", m.Doubt).on(m.Node))
		}
	}
	if len(meanings) > 1 && !slices.ContainsFunc(out, func(f Finding) bool { return f.Severity == Blocking }) {
		var parts []string
		for _, is := range slices.Sorted(maps.Keys(meanings)) {
			parts = append(parts, fmt.Sprintf("%s on %s", is, strings.Join(meanings[is], ", ")))
		}
		out = append(out, block("", "%s is %s", name, strings.Join(parts, ", but ")))
	}
	if len(out) == 0 && net.ParseIP(name) != nil {
		return []Finding{fine("the endpoint %s is an address of the load balancer", name)}, nil
	}
	if len(out) == 0 {
		for is, where := range meanings {
			out = append(out, fine("%s is %s on all %d nodes", name, is, len(where)))
		}
	}
	return out, nil
}

// firstStep is what has to come before a name that clients follow already may
// mean the load balancer: that it listens. "" where nothing has to.
func firstStep(s Scene, all []loadbalancer.Meaning) string {
	followed := slices.ContainsFunc(all, func(m loadbalancer.Meaning) bool { return m.Followed })
	if !followed || len(s.Spec().LoadBalancer.Hosts) == 0 || balanced(s) {
		return ""
	}
	return "clients follow this name already, so let the load balancer listen first: `migrate run --phase 1 --ignore-preflight EndpointName` sets it up, says when it listens, and waits for you; only then, "
}

// balanced says whether a load balancer's host listens on the endpoint's port.
func balanced(s Scene) bool {
	return slices.ContainsFunc(s.Spec().LoadBalancer.Hosts, func(lb cluster.Host) bool {
		f := s.Of(lb.Name)
		return f != nil && f.listens(lb.Address, s.Spec().Endpoint.Port)
	})
}

// fixName is the remedy for one node.
func fixName(s Scene, m loadbalancer.Meaning, first string) string {
	if m.Fix == "" {
		return "write the load balancer's address, or a name for it, into spec.endpoint"
	}
	if m.Elsewhere {
		return first + "on " + m.Node + ": " + m.Fix
	}
	remedy := first + "on " + m.Node + ": `" + m.Fix + "`"
	if strings.HasPrefix(m.Fix, "grep ") {
		remedy += ", or the same in DNS"
	}
	return remedy
}

// endpointReached shakes hands with the API server through the endpoint, as
// soon as phase 1 has made it.
func endpointReached(ctx context.Context, s Scene) ([]Finding, error) {
	k, err := s.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	made := cc.ControlPlaneEndpoint() == s.EndpointAddress()
	lb := balancers.Of(s.Spec())
	// A cluster may have been made with the endpoint's name, which then means
	// something else until there is a load balancer. One that has our file and is
	// dead is no such thing.
	if lb.Configured() && made {
		if made, err = lb.Begun(ctx, s.Reader); err != nil {
			return nil, err
		}
	}
	if lb.Configured() && !made {
		return []Finding{fine("phase 1 has not made the endpoint yet")}, nil
	}
	ca, err := s.AdminCA(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the admin kubeconfig holds no CA certificate")
	}
	// Somebody else's load balancer is there before phase 1, and leads to an
	// API server whose certificate lacks the endpoint's name until then.
	reach, remedy := kube.ServedCertificate, ""
	if !lb.Configured() && !made {
		reach = kube.ServedBy
		remedy = "let the load balancer pass TCP through to the API server's port, with the health check HTTPS GET /readyz; then, from the node: `curl -vk https://ENDPOINT/readyz`"
	}
	if _, err := reach(ctx, s.On(s.Target()).DialContext, s.EndpointAddress(), roots); err != nil {
		return []Finding{block(remedy, "%s does not lead to the API server from here: %v", s.EndpointAddress(), err)}, nil
	}
	if made {
		err := balancer.CarriedHere(ctx, s.Reader)
		if errors.Is(err, phases.ErrNotLooked) {
			return []Finding{warn("run `migrate preflight` again", "%s answers; whether a load balancer carries connections from here was not looked at: %v", s.EndpointAddress(), err)}, nil
		}
		if err != nil {
			return []Finding{block("see EndpointName (10) for what it means here; `ss -tn` on this node and on the load balancer shows both ends", "%v", err)}, nil
		}
	}
	return []Finding{fine("%s answers with the API server's certificate", s.EndpointAddress())}, nil
}

func conntrack(_ context.Context, s Scene) ([]Finding, error) {
	if !s.Facts().Conntrack {
		return []Finding{warn("", "conntrack is not installed")}, nil
	}
	return []Finding{fine("conntrack is there")}, nil
}

// proxies looks at the kubelet's environment and, on the first node, at that
// of the static pods, which kubeadm fills from the shell it runs in.
func proxies(ctx context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	var out []Finding
	spec := s.Spec()
	for who, env := range map[string]map[string]string{"the kubelet": f.Proxy} {
		out = append(out, proxied(who, env, []string{spec.Endpoint.Host})...)
	}
	if f.role == migrate.FirstControlPlane {
		needs := []string{spec.Endpoint.Host}
		for _, h := range slices.Concat(spec.EtcdMembers(), spec.ControlPlane.Joining) {
			needs = append(needs, h.Address)
		}
		for _, name := range kubeadmPods[:3] {
			m, there, err := readManifest(ctx, s, name)
			if err != nil {
				return nil, err
			}
			if there {
				out = append(out, proxied(name, upper(m.Env()), needs)...)
			}
		}
	}
	if len(out) == 0 {
		out = append(out, fine("no proxy is set that new hosts would be asked for through"))
	}
	return out, nil
}

func upper(env map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range env {
		out[strings.ToUpper(k)] = v
	}
	return out
}

// proxied says what a program would send to its proxy. The proxy itself is
// not named: its URL may hold a password.
func proxied(who string, env map[string]string, needs []string) []Finding {
	if env["HTTPS_PROXY"] == "" && env["HTTP_PROXY"] == "" {
		return nil
	}
	var missing []string
	for _, n := range needs {
		if !excepted(n, env["NO_PROXY"]) && !slices.Contains(missing, n) {
			missing = append(missing, n)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []Finding{warn("", "%s has a proxy, and its NO_PROXY lacks %s", who, strings.Join(missing, ", "))}
}

// excepted follows golang.org/x/net/http/httpproxy, which Kubernetes uses.
func excepted(host, noProxy string) bool {
	ip := net.ParseIP(host)
	for entry := range strings.SplitSeq(noProxy, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "*" || entry != "" && strings.EqualFold(entry, host) {
			return true
		}
		if _, block, err := net.ParseCIDR(entry); err == nil && ip != nil && block.Contains(ip) {
			return true
		}
		if suffix := "." + strings.TrimPrefix(strings.TrimPrefix(entry, "*"), "."); len(suffix) > 1 && ip == nil && strings.HasSuffix(strings.ToLower(host), strings.ToLower(suffix)) {
			return true
		}
	}
	return false
}
