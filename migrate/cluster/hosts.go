package cluster

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"

	"github.com/goccy/go-yaml/ast"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The groups that a host may be in, in the words of messages.
const (
	groupBalancer = "load balancer"
	groupEtcd     = "etcd host"
	groupFirst    = "first control-plane node"
	groupJoining  = "joining control-plane node"
	groupWorker   = "worker"
)

// inventory reads hosts and remembers where each of them stands.
type inventory struct {
	*decoder
	defaults SSH
	known    []knownHost
}

type knownHost struct {
	Host
	group         string
	name, address place
}

// hosts reads a list of hosts of one group.
func (in *inventory) hosts(p place, group string) []Host {
	var all []Host
	in.list(p, func(p place) { all = append(all, in.host(p, group)) })
	return all
}

// count is the number of items of a list as written; -1 when it is no list.
func (in *inventory) count(p place) int {
	if seq, ok := p.node.(*ast.SequenceNode); ok {
		return len(seq.Values)
	}
	return -1
}

func (in *inventory) atLeast(p place, hosts []Host, least int, remedy string) {
	if n := in.count(p); n >= 0 && n < least {
		in.bad(p, "has %d; %s", len(hosts), remedy)
	}
}

func (in *inventory) host(p place, group string) Host {
	h := knownHost{group: group, Host: Host{SSH: in.defaults}}
	who := "it"
	in.mapping(p,
		field{"name", "write the host's name; for a node, the Node's name", func(p place) {
			h.name, h.Name = p, in.hostName(p)
			if h.Name != "" {
				who = h.Name
			}
		}},
		field{"address", "write the IP address that other hosts use to reach it", func(p place) {
			h.address, h.Address = p, in.decoder.address(p, who)
		}},
		field{"ssh", "", func(p place) {
			in.ssh(p, &h.SSH, field{"address", "", func(p place) { h.SSH.Address = in.hostOrIP(p) }})
		}},
	)
	in.known = append(in.known, h)
	return h.Host
}

// name reads a host's name: Kubernetes and etcd take the same ones.
func (d *decoder) name(p place) string {
	s, ok := d.text(p)
	if !ok {
		return ""
	}
	if len(validation.IsDNS1123Subdomain(s)) > 0 {
		d.bad(p, "%s is not a host name: lower-case letters, digits, - and ., beginning and ending with a letter or digit", inputfile.Quote(s))
		return ""
	}
	return s
}

// wholeCluster is what plans and the journal call what is done once for the
// cluster (migrate.ClusterTarget).
const wholeCluster = "cluster"

// hostName reads the name of a machine.
func (d *decoder) hostName(p place) string {
	s := d.name(p)
	if s == wholeCluster {
		d.bad(p, "%s is what plans and the journal call the cluster as a whole, so no host can have that name here", inputfile.Quote(s))
		return ""
	}
	return s
}

// address reads an IP address that other hosts can reach.
func (d *decoder) address(p place, who string) string {
	s, ok := d.text(p)
	if !ok {
		return ""
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		d.bad(p, "%s is not an IP address; write the address other hosts use to reach %s", inputfile.Quote(s), who)
		return ""
	}
	if why := unreachable(addr); why != "" {
		d.bad(p, "%s %s; write the address other hosts use to reach %s", inputfile.Word(s), why, who)
		return ""
	}
	return addr.Unmap().String()
}

// unreachable says why an address is none that other hosts can be given.
func unreachable(addr netip.Addr) string {
	addr = addr.Unmap()
	switch {
	case addr.Zone() != "":
		return "has a zone, which means something on one host only"
	case addr.IsLoopback():
		return "is a loopback address, which no other host can reach"
	case addr.IsUnspecified():
		return "is the unspecified address, which no host has"
	case addr.IsMulticast():
		return "is a multicast address"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address, which no host has"
	case addr.Is4() && addr.As4()[0] == 0:
		return "is in 0.0.0.0/8, by which a host means itself"
	case addr.Is4() && addr.As4()[0] >= 240:
		return "is in 240.0.0.0/4, which is reserved"
	case addr.IsLinkLocalUnicast():
		return "is a link-local address, which needs an interface to go with it"
	case addr.Is6():
		return "is an IPv6 address, which this version does not handle: it migrates clusters by their IPv4 addresses"
	default:
		return ""
	}
}

// hostOrIP reads a host name or an IP address.
func (d *decoder) hostOrIP(p place) string {
	s, ok := d.text(p)
	if !ok {
		return ""
	}
	if _, err := netip.ParseAddr(s); err != nil && !isHostName(strings.ToLower(s)) {
		d.bad(p, "%s is neither a host name nor an IP address", inputfile.Quote(s))
		return ""
	}
	return s
}

// isHostName says whether s can be a host name. Digits and dots alone are an IP
// address that somebody mistyped.
func isHostName(s string) bool {
	return len(validation.IsDNS1123Subdomain(s)) == 0 && strings.Trim(s, "0123456789.") != ""
}

// ownName says why a name leads to the load balancer from nowhere, or only from
// within pods; "" where it may. It is without a dot at its end.
func ownName(host string) string {
	under := func(domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }
	switch {
	case under("localhost"), under("localhost.localdomain"), under("localhost6.localdomain6"),
		host == "localhost4", host == "localhost6", host == "ip6-localhost", host == "ip6-loopback":
		return "is each host's name for itself, so it leads no other host to the load balancer"
	case host == "kubernetes", host == "kubernetes.default", host == "kubernetes.default.svc", strings.HasPrefix(host, "kubernetes.default.svc."):
		return "is the name of the API inside the cluster, which pods know and kubelets do not"
	}
	return ""
}

// endpoint reads host:port. kubeadm takes the same values for
// controlPlaneEndpoint (cmd/kubeadm/app/util/endpoint.go), but for the port,
// which is required here.
func (d *decoder) endpoint(p place) Endpoint {
	s, ok := d.text(p)
	if !ok {
		return Endpoint{}
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		d.bad(p, "%s is not host:port; write the port too, usually 6443", inputfile.Quote(s))
		return Endpoint{}
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 1 || number > 65535 {
		d.bad(p, "%s is not a port; write a number from 1 to 65535, usually 6443", inputfile.Quote(port))
		return Endpoint{}
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil && !isHostName(host):
		d.bad(p, "%s is neither a host name (in lower case) nor an IP address", inputfile.Quote(host))
		return Endpoint{}
	case err != nil && ownName(host) != "":
		d.bad(p, "%s %s; write a name that leads to the load balancer, or its address", inputfile.Word(host), ownName(host))
		return Endpoint{}
	case err != nil:
		return Endpoint{Host: host, Port: number}
	case unreachable(addr) != "":
		d.bad(p, "%s %s; write the address of the load balancer", inputfile.Word(host), unreachable(addr))
		return Endpoint{}
	}
	return Endpoint{Host: addr.Unmap().String(), Port: number}
}

// sshDefaults are the values of a spec without an ssh block. What is left
// empty may be said by ~/.ssh/config; sshhost has the defaults of the rest.
func (d *decoder) sshDefaults() SSH {
	return SSH{Become: "auto", Timeout: 10 * time.Second}
}

// ssh reads an ssh block over what is in s already.
func (d *decoder) ssh(p place, s *SSH, more ...field) {
	d.mapping(p, append([]field{
		{"user", "", func(p place) {
			user, ok := d.text(p)
			if ok && !remote.IsUser(user) {
				d.bad(p, "%s is not a user name", inputfile.Quote(user))
			}
			s.User = user
		}},
		{"port", "", func(p place) { s.Port, _ = d.number(p, 1, 65535) }},
		{"identityFile", "", func(p place) { s.IdentityFile = d.fileField(p) }},
		{"knownHostsFile", "", func(p place) { s.KnownHostsFile = d.fileField(p) }},
		{"become", "", func(p place) { s.Become, _ = d.oneOf(p, "auto", "none", "sudo") }},
		{"timeout", "", func(p place) { s.Timeout = d.duration(p) }},
	}, more...)...)
}

func (d *decoder) duration(p place) time.Duration {
	s, ok := d.text(p)
	if !ok {
		return 0
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < time.Second || v > 10*time.Minute {
		d.bad(p, "%s is not a time from 1s to 10m, such as 10s", inputfile.Quote(s))
		return 0
	}
	return v
}

func (d *decoder) fileField(p place) string {
	s, ok := d.text(p)
	if !ok {
		return ""
	}
	return d.localFile(p, s)
}

// localFile makes a path on this machine absolute, or at least relative to
// where the program runs: ~/ is the home folder, and a relative path is
// relative to the spec file.
func (d *decoder) localFile(p place, s string) string {
	rest, inHome := strings.CutPrefix(s, "~/")
	switch {
	case inHome && d.home == "":
		d.bad(p, "%s: the home folder is not known (HOME is not set); write the whole path", inputfile.Quote(s))
		return ""
	case inHome:
		return filepath.Join(d.home, rest)
	case strings.HasPrefix(s, "~"):
		d.bad(p, "%s: only ~/ is understood, for your own home folder; write the whole path", inputfile.Quote(s))
		return ""
	case filepath.IsAbs(s):
		return filepath.Clean(s)
	default:
		return filepath.Join(d.dir, s)
	}
}
