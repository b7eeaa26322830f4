package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// redirectName is the nft table, or the chain of iptables, that holds the
// redirect and nothing else.
const redirectName = "migrate_overlap"

// redirect sends new connections for an API server to its twin: those that
// arrive and those that the node opens itself, to the node's address and to
// the Service's. Connections that exist stay where they are: the nat hooks
// see only the first packet of a flow. Connections to 127.0.0.1 are left
// alone, which is how the real one is watched meanwhile. The target is an
// address and not nft's or iptables' "redirect": that takes the address of the
// interface a packet arrived on, and those of some networks' pods have none.
type redirect struct {
	address string // host:port of the API server
	service string // host:port of the kubernetes Service
}

// port is the API server's.
func (r redirect) port() (int, error) {
	_, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// twin is host:port of the second API server.
func (r redirect) twin() (string, error) {
	host, _, err := net.SplitHostPort(r.address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(TwinPort)), nil
}

// priority -110 is before kube-proxy's (-100, dstnat), which would rewrite
// the Service's address first.
func (r redirect) nft() (string, error) {
	host, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return "", err
	}
	svc, svcPort, err := net.SplitHostPort(r.service)
	if err != nil {
		return "", err
	}
	to := net.JoinHostPort(host, strconv.Itoa(TwinPort))
	rules := fmt.Sprintf("ip daddr %s tcp dport %s dnat to %s; ip daddr %s tcp dport %s dnat to %s;", host, port, to, svc, svcPort, to)
	return fmt.Sprintf(`add table ip %[1]s
delete table ip %[1]s
table ip %[1]s {
  chain arriving { type nat hook prerouting priority -110; policy accept; %[2]s }
  chain local { type nat hook output priority -110; policy accept; %[2]s }
}
`, redirectName, rules), nil
}

// iptables rules go to the head of the chains, before kube-proxy's.
func (r redirect) iptables() (string, error) {
	host, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return "", err
	}
	svc, svcPort, err := net.SplitHostPort(r.service)
	if err != nil {
		return "", err
	}
	return removeIptables + fmt.Sprintf(`iptables -w -t nat -N %[1]s
iptables -w -t nat -A %[1]s -p tcp -d %[2]s --dport %[3]s -j DNAT --to-destination %[2]s:%[6]d
iptables -w -t nat -A %[1]s -p tcp -d %[4]s --dport %[5]s -j DNAT --to-destination %[2]s:%[6]d
iptables -w -t nat -I PREROUTING 1 -j %[1]s
iptables -w -t nat -I OUTPUT 1 -j %[1]s
`, redirectName, host, port, svc, svcPort, TwinPort), nil
}

const removeIptables = `for c in PREROUTING OUTPUT; do while iptables -w -t nat -D $c -j ` + redirectName + ` 2>/dev/null; do :; done; done
iptables -w -t nat -F ` + redirectName + ` 2>/dev/null || true; iptables -w -t nat -X ` + redirectName + ` 2>/dev/null || true
`

// firewall names what the node can redirect with: "nft", "iptables" or "".
func firewall(ctx context.Context, r remote.Reader) (string, error) {
	out, err := r.Look(ctx, remote.Command{Script: "for t in nft iptables; do command -v $t >/dev/null && { echo $t; exit; }; done; true"})
	if err != nil {
		return "", fmt.Errorf("looking for nft or iptables on %s: %w", r.Name(), err)
	}
	return strings.TrimSpace(out), nil
}

func addRedirect(ctx context.Context, h remote.Host, r redirect) error {
	if err := addRules(ctx, h, r); err != nil {
		return fmt.Errorf("redirecting %s to the second API server: %w", r.address, err)
	}
	return nil
}

// rules are a redirect's, in the words of each tool.
type rules interface {
	nft() (string, error)
	iptables() (string, error)
}

// addRules hands rules to the tool that the node has.
func addRules(ctx context.Context, h remote.Host, r rules) error {
	tool, err := firewall(ctx, h)
	if err != nil {
		return err
	}
	var c remote.Command
	var text string
	switch tool {
	case "nft":
		text, err = r.nft()
		c = remote.Command{Script: "nft -f -", Stdin: []byte(text)}
	case "iptables":
		text, err = r.iptables()
		c = remote.Command{Script: "set -e\n" + text}
	default:
		return fmt.Errorf("%s has neither nft nor iptables", h.Name())
	}
	if err == nil {
		_, err = h.Run(ctx, c)
	}
	return err
}

func removeRedirect(ctx context.Context, h remote.Host) error {
	script := "set -e\nif command -v nft >/dev/null; then nft -f - <<EOF\nadd table ip " + redirectName + "\ndelete table ip " + redirectName + "\nEOF\nelse\n" + removeIptables + "fi"
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("removing the redirect on %s: %w", h.Name(), err)
	}
	return nil
}

// Redirected says whether new connections are sent to the second API server.
func Redirected(ctx context.Context, r remote.Reader) (bool, error) { return redirected(ctx, r) }

// redirected says whether the redirect is in place.
func redirected(ctx context.Context, r remote.Reader) (bool, error) {
	script := `{ nft list table ip ` + redirectName + ` 2>/dev/null || iptables -w -t nat -S ` + redirectName + ` 2>/dev/null || true; } | grep -c -i 'dnat to\|DNAT --to' || true`
	out, err := r.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return false, fmt.Errorf("looking for the redirect on %s: %w", r.Name(), err)
	}
	n := strings.TrimSpace(out)
	if n == "" {
		return false, errors.New("looking for the redirect: no answer")
	}
	return n != "0", nil
}
