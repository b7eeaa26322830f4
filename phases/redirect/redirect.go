// Package redirect sends new TCP connections on a host to another address
// (DNAT), by one table of nft or, where the host has no nft, by chains of
// iptables. Connections that exist stay where they are: the nat hooks see only
// the first packet of a connection.
package redirect

import (
	"context"
	"fmt"
	"net"
	"strings"

	"hamigrate/migrate/remote"
)

// Table is what holds one redirect on a host, and nothing else.
type Table struct {
	// Name is the nft table, or begins the names of the iptables chains.
	Name string
	// Title names the redirect in errors, "the redirect".
	Title string
	// Masquerade makes the answers come back through this host. It is needed
	// where the connections are sent to another host.
	Masquerade bool
}

// Redirect sends new connections to other addresses: those that arrive at the
// host and those that the host opens itself. Connections to 127.0.0.1 are left
// alone. The target is an address and not nft's or iptables' "redirect": that
// takes the address of the interface a packet arrived on, and those of some
// networks' pods have none.
type Redirect struct {
	Table
	// From are the addresses (host:port) whose new connections are redirected.
	From []string
	// To is the address (host:port) that they get.
	To string
}

// Tool names what a host can redirect with: "nft", "iptables" or "" for
// neither.
func Tool(ctx context.Context, r remote.Reader) (string, error) {
	out, err := r.Look(ctx, remote.Command{Script: "for t in nft iptables; do command -v $t >/dev/null && { echo $t; exit; }; done; true"})
	if err != nil {
		return "", fmt.Errorf("looking for nft or iptables on %s: %w", r.Name(), err)
	}
	return strings.TrimSpace(out), nil
}

// Add loads the redirect on a host, in place of what its table holds.
func (r Redirect) Add(ctx context.Context, h remote.Host) error {
	tool, err := Tool(ctx, h)
	if err != nil {
		return err
	}
	var c remote.Command
	var text string
	switch tool {
	case "nft":
		text, err = r.NFT()
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

// Remove removes the table from a host; one that is not there is success.
// Connections that were redirected go on: the kernel remembers them.
func (t Table) Remove(ctx context.Context, h remote.Host) error {
	script := "set -e\nif command -v nft >/dev/null; then nft -f - <<EOF\nadd table ip " + t.Name + "\ndelete table ip " + t.Name + "\nEOF\nelse\n" + t.removeChains() + "fi"
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("removing %s on %s: %w", t.Title, h.Name(), err)
	}
	return nil
}

// Loaded says whether the table is on a host and redirects.
func (t Table) Loaded(ctx context.Context, r remote.Reader) (bool, error) {
	script := `{ nft list table ip ` + t.Name + ` 2>/dev/null || iptables -w -t nat -S ` + t.Name + ` 2>/dev/null || true; } | grep -c -i 'dnat to\|DNAT --to' || true`
	out, err := r.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return false, fmt.Errorf("looking for %s on %s: %w", t.Title, r.Name(), err)
	}
	n := strings.TrimSpace(out)
	if n == "" {
		return false, fmt.Errorf("looking for %s: no answer", t.Title)
	}
	return n != "0", nil
}

// NFT returns the rules as nft reads them, whole or not at all. Priority -110 is before kube-proxy's -100
// (dstnat), which would rewrite a Service's address first, and 90 is before its
// 100 (srcnat).
func (r Redirect) NFT() (string, error) {
	toHost, toPort, err := net.SplitHostPort(r.To)
	if err != nil {
		return "", err
	}
	var rules []string
	for _, from := range r.From {
		host, port, err := net.SplitHostPort(from)
		if err != nil {
			return "", err
		}
		rules = append(rules, fmt.Sprintf("ip daddr %s tcp dport %s dnat to %s;", host, port, r.To))
	}
	onward := ""
	if r.Masquerade {
		onward = fmt.Sprintf("  chain onward { type nat hook postrouting priority 90; policy accept; ip daddr %s tcp dport %s ct status dnat masquerade; }\n", toHost, toPort)
	}
	return fmt.Sprintf(`add table ip %[1]s
delete table ip %[1]s
table ip %[1]s {
  chain arriving { type nat hook prerouting priority -110; policy accept; %[2]s }
  chain local { type nat hook output priority -110; policy accept; %[2]s }
%[3]s}
`, r.Name, strings.Join(rules, " "), onward), nil
}

// chains are those of iptables: the second one masquerades.
func (t Table) chains() []string {
	if t.Masquerade {
		return []string{t.Name, t.Name + "_onward"}
	}
	return []string{t.Name}
}

// iptables rules go to the head of the chains, before kube-proxy's.
func (r Redirect) iptables() (string, error) {
	toHost, toPort, err := net.SplitHostPort(r.To)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(r.removeChains())
	for _, chain := range r.chains() {
		fmt.Fprintf(&b, "iptables -w -t nat -N %s\n", chain)
	}
	for _, from := range r.From {
		host, port, err := net.SplitHostPort(from)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "iptables -w -t nat -A %s -p tcp -d %s --dport %s -j DNAT --to-destination %s\n", r.Name, host, port, r.To)
	}
	if r.Masquerade {
		fmt.Fprintf(&b, "iptables -w -t nat -A %[1]s_onward -p tcp -d %[2]s --dport %[3]s -m conntrack --ctstate DNAT -j MASQUERADE\niptables -w -t nat -I POSTROUTING 1 -j %[1]s_onward\n", r.Name, toHost, toPort)
	}
	fmt.Fprintf(&b, "iptables -w -t nat -I PREROUTING 1 -j %[1]s\niptables -w -t nat -I OUTPUT 1 -j %[1]s\n", r.Name)
	return b.String(), nil
}

// removeChains is a script that removes the chains of iptables, those that are
// there.
func (t Table) removeChains() string {
	var b strings.Builder
	fmt.Fprintf(&b, "for c in PREROUTING OUTPUT; do while iptables -w -t nat -D $c -j %s 2>/dev/null; do :; done; done\n", t.Name)
	if t.Masquerade {
		fmt.Fprintf(&b, "while iptables -w -t nat -D POSTROUTING -j %s_onward 2>/dev/null; do :; done\n", t.Name)
	}
	for _, chain := range t.chains() {
		fmt.Fprintf(&b, "iptables -w -t nat -F %[1]s 2>/dev/null || true; iptables -w -t nat -X %[1]s 2>/dev/null || true\n", chain)
	}
	return b.String()
}
