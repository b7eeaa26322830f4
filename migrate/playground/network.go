package playground

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	netnsDir = "/run/netns"
	bridge   = "br0"
	uplink   = "uplink" // the bridge's end of the veth pair to this machine
	// linkPrefix and the slot are the name of this machine's end.
	linkPrefix = "mpg"
)

func (p *Playground) netns() string { return filepath.Join(netnsDir, p.state.id()) }

// startNetwork makes the namespace, the bridge in it and the veth pair from
// this machine, as far as they are not there.
func (p *Playground) startNetwork(ctx context.Context) error {
	if p.networkUp() {
		return nil
	}
	if err := raiseLimits(); err != nil {
		return err
	}
	loadModules(ctx)
	if err := p.stopNetwork(ctx); err != nil { // half made
		return err
	}
	ns := p.state.id()
	if _, err := run(ctx, "ip", "netns", "add", ns); err != nil {
		return err
	}
	if err := p.takeSlot(ctx); err != nil {
		return err
	}
	gateway := slotAddress(p.state.Slot, lastGateway)
	link := linkPrefix + strconv.Itoa(p.state.Slot)
	for _, args := range []string{
		"-n " + ns + " link add " + bridge + " type bridge",
		"-n " + ns + " link set " + uplink + " master " + bridge + " up",
		"-n " + ns + " addr add " + gateway.String() + "/24 dev " + bridge,
		"-n " + ns + " link set " + bridge + " up",
		"-n " + ns + " link set lo up",
		"addr add " + slotAddress(p.state.Slot, lastOperator).String() + "/24 dev " + link,
	} {
		if _, err := run(ctx, "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	for _, h := range p.hosts {
		if !h.kubernetes() {
			continue
		}
		if _, err := run(ctx, "ip", "-n", ns, "route", "add", h.podSubnet().String(), "via", h.Address.String()); err != nil {
			return err
		}
	}
	// The gateway forwards and has no route outside: what a host or a pod
	// sends there is answered "unreachable" at once, each time. A pod that
	// asks for a Service before kube-proxy has its rules would otherwise wait
	// half a minute. Bridged frames pass no firewall hook, there being no
	// rules here.
	const settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables || true"
	if _, err := run(ctx, "nsenter", "--net="+p.netns(), "sh", "-c", settings); err != nil {
		return err
	}
	// Up last: networkUp takes it as the sign that all is there.
	_, err := run(ctx, "ip", "link", "set", link, "up")
	return err
}

// networkUp says whether startNetwork ran to its end.
func (p *Playground) networkUp() bool {
	if p.state.Slot < 0 || !exists(p.netns()) {
		return false
	}
	link, err := net.InterfaceByName(linkPrefix + strconv.Itoa(p.state.Slot))
	return err == nil && link.Flags&net.FlagUp != 0
}

// takeSlot makes the veth pair under the name of a free slot. The kernel
// refuses a name that is taken, so two playgrounds made at the same time
// cannot get one slot. A slot taken before is taken again.
func (p *Playground) takeSlot(ctx context.Context) error {
	first := max(p.state.Slot, 0)
	last := slots
	if p.state.Slot >= 0 {
		last = first + 1
	}
	for slot := first; slot < last; slot++ {
		if inUse(subnet(slot), interfaceAddresses()) {
			continue
		}
		link := linkPrefix + strconv.Itoa(slot)
		if _, err := run(ctx, "ip", "link", "add", link, "type", "veth", "peer", "name", uplink, "netns", p.state.id()); err != nil {
			if _, taken := net.InterfaceByName(link); taken == nil {
				continue
			}
			return err
		}
		p.state.Slot = slot
		p.hosts = layOut(p.state)
		return p.save()
	}
	return &UserError{
		Problem: fmt.Sprintf("no free address range for playground %s in 198.18.0.0/15", p.state.Name),
		Remedy:  "take down other playgrounds (`migrate playground down --name NAME`), or the link that has the range (`ip -4 address`)",
	}
}

// inUse says whether a subnet overlaps one of this machine's.
func inUse(s netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if s.Overlaps(t) {
			return true
		}
	}
	return false
}

// interfaceAddresses lists this machine's addresses with their networks.
func interfaceAddresses() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the kernel refuses what is taken anyway
	}
	var found []netip.Prefix
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, prefix)
		}
	}
	return found
}

// stopNetwork removes the namespace, and with it the bridge and the veth
// pair. The kernel does that a moment later, so it waits for this machine's
// end to be gone.
func (p *Playground) stopNetwork(ctx context.Context) error {
	if !exists(p.netns()) {
		return nil
	}
	index := p.linkIndex(ctx)
	if _, err := run(ctx, "ip", "netns", "del", p.state.id()); err != nil {
		return err
	}
	if index == 0 {
		return nil
	}
	return poll(ctx, 20*time.Second, "the playground's link to go", func() (bool, error) {
		_, err := net.InterfaceByIndex(index)
		return err != nil, nil
	})
}

// linkIndex is the index of this machine's end of the veth pair, asked of the
// other end; 0 if there is none.
func (p *Playground) linkIndex(ctx context.Context) int {
	out, err := run(ctx, "ip", "-n", p.state.id(), "-json", "link", "show", "dev", uplink)
	var links []struct {
		Index int `json:"link_index"`
	}
	if err != nil || json.Unmarshal([]byte(out), &links) != nil || len(links) != 1 {
		return 0
	}
	return links[0].Index
}

// sshAnswers dials a host and returns nil when an SSH server greets.
func sshAnswers(ctx context.Context, h Host) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(h.Address.String(), "22"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	greeting := make([]byte, 4)
	if _, err := conn.Read(greeting); err != nil {
		return err
	}
	if string(greeting) != "SSH-" {
		return errors.New("no SSH server")
	}
	return nil
}
