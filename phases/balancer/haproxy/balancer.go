// Package haproxy is a load balancer of hosts that run HAProxy, which passes the
// API through as TCP and asks each API server every second whether it is ready.
//
// It is a service of its own, beside haproxy.service, with a file and sockets of its
// own: what the host's HAProxy serves is neither read nor changed, a mistake in
// somebody else's file does not stop the API, and their reloads do not touch it.
//
// All API servers of the spec are in its file from the start, those that have not
// joined yet as disabled. One is switched on and off in the running process by its
// socket, and in the file, so that a restart says the same. A reload would do it
// worse: a new process takes each server for alive until its first check, also one
// that the old process knew to be dead, and the connections of before stay in a
// process that checks nothing any more.
package haproxy

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
		Kind:     cluster.LoadBalancerHAProxy,
		Machine:  "HAProxy",
		Steps:    []phases.Step{haproxy(), haproxyFrontend()},
		Serves:   frontendID,
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
	port := "6443"
	c := Config{Port: spec.Endpoint.Port, Servers: []Server{{Name: spec.ControlPlane.First.Name, Address: net.JoinHostPort(spec.ControlPlane.First.Address, port), On: true}}}
	for _, h := range spec.ControlPlane.Joining {
		c.Servers = append(c.Servers, Server{Name: h.Name, Address: net.JoinHostPort(h.Address, port)})
	}
	through := ""
	for _, lb := range spec.LoadBalancer.Hosts {
		through += fmt.Sprintf("curl --cacert /etc/kubernetes/pki/ca.crt --connect-to ::%s https://{{.Endpoint}}/readyz    # ok\n", net.JoinHostPort(lb.Address, strconv.Itoa(spec.Endpoint.Port)))
	}
	set := func(server, state string) string {
		return fmt.Sprintf("echo \"set server %s/%s state %s\" | socat - UNIX-CONNECT:%s    # prints an empty line\n", proxyName, server, state, adminSocket)
	}
	return balancer.ByHand{
		Configuration: c.Render(),
		Prove:         "```\n" + through + "```\n",
		Add: "```\ncurl -k https://{{.Address}}:6443/readyz    # 200 first\n# then, on every load balancer:\nsed -i '/ server {{.Name}} /s/ disabled$//' " + configFile + "\n" + set("{{.Name}}", "ready") + "```\n" +
			"\nNo reload: a new process would take dead API servers for alive until its first checks.\n",
		WithoutFirst: "On every load balancer:\n\n```\n" + set("{{.First.Name}}", "maint") +
			"curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # from every node, {{.First.Name}} too: ok\n```\n\n" +
			"Put it back:\n\n```\n" + set("{{.First.Name}}", "ready") + "```\n",
	}
}
