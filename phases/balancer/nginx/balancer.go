// Package nginx is a load balancer of hosts that run nginx, which passes the API
// through as TCP. nginx may serve other sites there: what is not ours is left as
// it is. It gets another list of API servers by a reload, which keeps the
// connections that are open.
package nginx

import (
	"fmt"
	"net"
	"strconv"

	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// Balancer is this kind.
func Balancer() balancer.Balancer {
	return balancer.Balancer{
		Kind:     cluster.LoadBalancerNginx,
		Machine:  "nginx",
		Steps:    []phases.Step{nginx(), workerConnections(), nginxStream()},
		Serves:   nginxStreamID,
		Check:    balancer.CheckHosts,
		Verify:   balancer.ThroughHosts,
		Begun:    begun,
		Forwards: forwards,
		Backends: backends{},
		First:    first{},
		Ahead:    balancer.Ahead{Configuration: aheadOfConfiguration, Installation: aheadOfInstallation},
		ByHand:   byHand,
	}
}

func byHand(spec cluster.Spec) balancer.ByHand {
	stream := Upstream{Port: spec.Endpoint.Port, Backends: []string{net.JoinHostPort(spec.ControlPlane.First.Address, "6443")}, Nofile: 65536}
	through := ""
	for _, lb := range spec.LoadBalancer.Hosts {
		through += fmt.Sprintf("curl --cacert /etc/kubernetes/pki/ca.crt --connect-to ::%s https://{{.Endpoint}}/readyz    # ok\n", net.JoinHostPort(lb.Address, strconv.Itoa(spec.Endpoint.Port)))
	}
	return balancer.ByHand{
		Configuration: stream.Render(),
		Prove:         "```\n" + through + "```\n",
		Add:           "```\ncurl -k https://{{.Address}}:6443/readyz    # 200 first\n# add `server {{.Address}}:6443 max_fails=1 fail_timeout=5s;` to the upstream\nnginx -t && systemctl reload nginx\n```\n",
		WithoutFirst: "Take `server {{.First.Address}}:6443 …` out of the upstream on every load balancer, then:\n\n```\nnginx -t && systemctl reload nginx\n" +
			"curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # from every node, {{.First.Name}} too: ok\n```\n\n" +
			"Put the line back, and `nginx -t && systemctl reload nginx` again.\n",
	}
}
