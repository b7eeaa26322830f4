package remote

import (
	"net"
	"slices"
	"strings"
)

// ShowAddresses prints the IPv4 addresses that a host has itself.
const ShowAddresses = "ip -o -4 addr show scope global 2>/dev/null || hostname -I"

// ofContainers are the beginnings of the names of devices that container
// networks, virtual machines and virtual load balancers make on every host, with
// the same addresses on each.
var ofContainers = []string{"cni", "docker", "podman", "nerdctl", "flannel", "cali", "vxlan", "cilium", "antrea", "ovn-", "lxc", "lxdbr", "veth", "br-", "kube-", "nodelocaldns", "tunl", "weave", "virbr"}

// OwnAddresses reads what ShowAddresses printed: "2: eth0    inet 10.0.0.1/24
// brd …", without the devices of containers; or, where there is no `ip`, the
// addresses alone. No address is told twice.
func OwnAddresses(text string) []string {
	var out []string
	add := func(a string) {
		if net.ParseIP(a).To4() != nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 4 || words[2] != "inet" {
			for _, w := range words {
				add(w)
			}
			continue
		}
		if slices.ContainsFunc(ofContainers, func(p string) bool { return strings.HasPrefix(words[1], p) }) {
			continue
		}
		address, _, _ := strings.Cut(words[3], "/")
		add(address)
	}
	return out
}
