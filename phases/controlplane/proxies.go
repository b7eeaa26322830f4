package controlplane

import (
	"context"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

const (
	// followLimit bounds the wait for the endpoints and every kube-proxy.
	followLimit = 2 * time.Minute
	// unseen is how long endpoints must have been as they are where the rules
	// of a node can't be read: kube-proxy writes all of them again at least
	// that often (--iptables-sync-period, 30 s by default).
	unseen = 30 * time.Second
)

// handOver ends the redirect of the target when no node sends anybody to its
// API server any more: neither by kube-proxy's rules nor by what the kernel
// remembers of connections that it has reset.
func handOver(ctx context.Context, h phases.Writer) error {
	host := h.On(h.Target())
	redirected, err := leavingTable().Loaded(ctx, host)
	if err != nil {
		return err
	}
	nodes, err := otherNodes(ctx, h.Reader)
	if err != nil {
		return err
	}
	if err := awaitProxies(ctx, h, nodes, redirected); err != nil {
		return fmt.Errorf("waiting until nobody is sent to the API server of %s: %w", h.Target(), err)
	}
	if !redirected {
		return nil
	}
	return endRedirectLeaving(ctx, host)
}

// forgetResetOn makes nodes forget the connections that the API server of the
// target has reset.
func forgetResetOn(ctx context.Context, h phases.Writer, nodes []string) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := apiserver.ForgetReset(ctx, h.On(node), address); err != nil {
			return err
		}
	}
	return nil
}

// otherNodes lists the names of the nodes but for the target: the workers and
// the control-plane nodes that are left. One that joined and is not Ready has
// no clients to be sent anywhere, and may be off.
func otherNodes(ctx context.Context, v phases.Reader) ([]string, error) {
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	there, err := v.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{v.First().Name: true}
	for _, w := range workers {
		names[w.Name] = true
	}
	for _, cp := range v.Spec().ControlPlane.Joining {
		if n, is := there[cp.Name]; is && kube.Ready(n) {
			names[cp.Name] = true
		}
	}
	delete(names, v.Target())
	return slices.Sorted(maps.Keys(names)), nil
}

// listedAsEndpoint is the error that the kubernetes endpoints name the target.
func listedAsEndpoint(ctx context.Context, v phases.Reader) error {
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	list, err := k.EndpointAddresses(ctx, "default", "kubernetes")
	if err == nil && slices.Contains(list, v.Self().Address) {
		err = fmt.Errorf("the kubernetes endpoints still name %s", v.Self().Address)
	}
	return err
}

// awaitProxies waits for the endpoints, and then for the rules and the memory
// of every node: as long as there is a redirect to carry those who are sent
// here.
func awaitProxies(ctx context.Context, h phases.Writer, nodes []string, redirected bool) error {
	var since time.Time
	return phases.Await(ctx, h.Reader, followLimit, func(ctx context.Context) error {
		if err := listedAsEndpoint(ctx, h.Reader); err != nil || !redirected {
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if err := proxiesFollow(ctx, h.Reader, nodes, time.Since(since)); err != nil {
			return err
		}
		return forgetResetOn(ctx, h, nodes)
	})
}

// rulesScript prints "blind" where no tool shows kube-proxy's rules, else how
// many of them name an address and port: as host:port (iptables, IPVS) or as
// "host . port" (nftables).
const rulesScript = `seen=; n=0
add() { case $1 in *"$2"*) seen=y; n=$((n + $(echo "$1" | grep -c -E '%[1]s'))) ;; esac; }
for t in iptables-save iptables-legacy-save; do if command -v $t >/dev/null; then add "$($t -t nat 2>/dev/null)" KUBE-SEP-; fi; done
if command -v nft >/dev/null; then add "$(nft list table ip kube-proxy 2>/dev/null)" kube-proxy; fi
if command -v ipvsadm >/dev/null; then add "$(ipvsadm -Ln 2>/dev/null)" '-> '; fi
if [ -n "$seen" ]; then echo $n; else echo blind; fi`

// proxiesFollow is the error that some node's rules still lead to the target;
// stable is for how long the endpoints have not named it.
func proxiesFollow(ctx context.Context, v phases.Reader, nodes []string, stable time.Duration) error {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(rulesScript, "(^|[^0-9.])"+regexp.QuoteMeta(host)+"(:| [.] )"+port+"([^0-9]|$)")
	return parallel.Each(nodes, func(_ int, node string) error {
		out, err := v.On(node).Look(ctx, remote.Command{Script: script})
		switch n := strings.TrimSpace(out); {
		case err != nil:
			return fmt.Errorf("reading the Service rules of %s: %w", node, err)
		case n == "0" || n == "blind" && stable >= unseen:
			return nil
		case n == "blind":
			return fmt.Errorf("the Service rules of %s can't be read, so it gets %s", node, unseen)
		}
		return fmt.Errorf("the Service rules of %s still lead to %s", node, address)
	})
}
