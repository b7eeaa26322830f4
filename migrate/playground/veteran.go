package playground

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The veteran is a cluster as six years and four engineers leave it: much was
// done by hand, each piece of it in order by itself, and kubeadm's ConfigMap
// does not know all of it. docs/playground.md lists what it holds, and where
// people told of each piece.

// EndpointName is the name that the veteran's operators have for the API's
// new address: a line in the hosts file of every host, which leads to the
// load balancer.
const EndpointName = "api.example.internal"

// Paths on the veteran's first control-plane node.
const (
	authentication = "/etc/kubernetes/authentication/config.yaml"
	webhooks       = "/etc/kubernetes/webhooks"
)

// rotatedLog is how much is in an audit log of before, which no one needs on
// another node.
const rotatedLog = 20 << 20

// newer says whether a host of the veteran has the newer Debian.
func newer(h Host) bool { return slices.Contains([]string{"lb1", "e3", "cp3", "w2"}, h.Name) }

// second is an address more on a node's link, for what is not the cluster's.
// 203.0.113.0/24 is nobody's (RFC 5737), and each playground has a link of its
// own, so all may have the same.
func (h Host) second() netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, 113, h.Address.As4()[3]})
}

// endpoint is the host of the control-plane endpoint.
func (p *Playground) endpoint() string {
	if p.state.veteran() {
		return EndpointName
	}
	return withRole(p.hosts, RoleLoadBalancer)[0].Address.String()
}

// endpointLine is the endpoint's line in the hosts files, where it is a name.
func (p *Playground) endpointLine() string {
	if !p.state.veteran() {
		return ""
	}
	return fmt.Sprintf("%s\t%s\n", withRole(p.hosts, RoleLoadBalancer)[0].Address, EndpointName)
}

// veteranFiles are a host's files that no template makes.
func veteranFiles(h Host) []hostFile {
	zone := func(name string) hostFile {
		return hostFile{path: "/etc/localtime", data: "/usr/share/zoneinfo/" + name, link: true}
	}
	switch h.Name {
	case "cp1":
		return []hostFile{zone("Asia/Tokyo"),
			{path: webhooks + "/policy.yaml", data: "# Of the admission webhook that was here in 2021.\n"},
			{path: auditDir + "/policy.yaml", data: "policy-2.yaml", link: true},
			{path: rotatedName(time.Now()), data: strings.Repeat(oldAuditLine, rotatedLog/len(oldAuditLine)), mode: 0o600},
		}
	case "cp2":
		return []hostFile{zone("UTC"),
			{path: "/etc/systemd/system/sockets.target.wants/cri-dockerd.socket", data: "/etc/systemd/system/cri-dockerd.socket", link: true}}
	case "cp3":
		return []hostFile{zone("UTC")}
	case "e2":
		// As mkfs leaves it at the top of a disk of its own.
		return []hostFile{{path: "/var/lib/etcd-external/lost+found", dir: true, mode: 0o700}}
	}
	return nil
}

// rotatedName is that of a log of a month before: one of a year before is
// removed by the API server of Kubernetes 1.36, without being asked,
// when it first writes (--audit-log-maxage has the default 366 there).
func rotatedName(now time.Time) string {
	return auditDir + "/logs/audit-" + now.AddDate(0, -1, 0).UTC().Format("2006-01-02T15-04-05.000") + ".log"
}

const oldAuditLine = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/till","verb":"get"}` + "\n"

// veteranTemplates are the rest.
func veteranTemplates(h Host) map[string]string {
	switch h.Name {
	case "lb1":
		return map[string]string{
			"/etc/nginx/nginx.conf":    "veteran-nginx.conf",
			"/etc/nginx/tcpconf.d/tcp": "veteran-tcp.nginx",
			"/etc/nginx/streams/intra": "veteran-intranet.nginx",
		}
	case "cp1":
		return map[string]string{
			auditDir + "/policy-2.yaml": "veteran-audit.yaml",
			authentication:              "veteran-authentication.yaml",
		}
	case "cp2":
		return map[string]string{
			"/etc/systemd/system/cri-dockerd.socket":  "cri-dockerd.socket",
			"/etc/systemd/system/cri-dockerd.service": "cri-dockerd.service",
		}
	}
	return nil
}

// afterJoins takes the door away through which nodes came: whoever joins from
// now on needs a file or a right of its own.
func (p *Playground) afterJoins(ctx context.Context, first Host) error {
	if !p.state.veteran() {
		return nil
	}
	_, err := p.exec(ctx, first, "", "kubectl -n kube-public delete rolebinding kubeadm:bootstrap-signer-clusterinfo")
	return err
}
