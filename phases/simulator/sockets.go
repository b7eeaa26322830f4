package simulator

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// established plays `ss -Htnp state established ( SIDE = :PORT )`.
func (p program) established(side, port string) {
	for s := range p.host.world.open {
		switch {
		case side == "dport" && s.from == p.host && strings.HasSuffix(s.peer, ":"+port):
			p.out("0      0      %s   %s  users:((\"sshd\",pid=371,fd=9))\n", s.local, s.peer)
		case side == "sport" && s.by == p.host:
			p.out("0      0      %s:%s   %s  users:((\"nginx\",pid=49,fd=12))\n", p.host.address, port, s.translated)
		}
	}
}

// ss plays the three questions that are asked of it.
func ss(p program) error {
	line := strings.Join(p.args, " ")
	h := p.host
	switch {
	case line == "-Hltn":
		everyListener(p)
	case strings.HasPrefix(line, "-Hltnp ( sport = :"):
		p.listening(strings.Trim(strings.TrimPrefix(line, "-Hltnp ( sport = :"), " )"))
	case strings.HasPrefix(line, "-Hltn sport = :"):
		p.listening(strings.TrimPrefix(line, "-Hltn sport = :"))
	case strings.HasPrefix(line, "-Htn state established ( sport = :"):
		for n := range h.clients {
			p.out("0 0 %s:6443 10.88.1.%d:%d\n", h.address, n%250, 30000+n)
		}
	case strings.HasPrefix(line, "-Htnp state established ( "):
		words := strings.Fields(line)
		if h.hardware.Sockets > 0 {
			p.sleep(h.hardware.Sockets)
		}
		p.established(words[4], strings.TrimPrefix(words[6], ":"))
	case line == "-Htnp state established":
		if h.active("kubelet.service") && h.world.reachAt(h, h.kubelet.server, h.kubelet.peer) == nil {
			u, err := url.Parse(h.kubelet.server)
			if err != nil {
				return err
			}
			p.out("0      0      %s:33968   %s:%s  users:((\"kubelet\",pid=%d,fd=21))\n", h.address,
				h.kubelet.peer, u.Port(), h.units["kubelet.service"].proc.pid)
		}
		p.out("0      0      %s:22   10.88.0.254:48592  users:((\"sshd\",pid=4,fd=4))\n", h.address)
	default:
		return fmt.Errorf("%q is not played", line)
	}
	return nil
}

func (p program) listening(port string) {
	h := p.host
	show := func(name string, pid int) {
		p.out("LISTEN 0      511    0.0.0.0:%s   0.0.0.0:* users:((\"%s\",pid=%d,fd=6))\n", port, name, pid)
	}
	if h.nginxActive() {
		for _, listen := range append(slices.Collect(maps.Keys(h.nginx.streams)), h.nginx.http...) {
			if fmt.Sprint(listen) == port {
				show("nginx", h.units["nginx.service"].proc.pid)
			}
		}
	}
	if h.haproxyActive() {
		for _, listen := range h.haproxy.ports {
			if fmt.Sprint(listen) == port {
				show("haproxy", h.units[haproxyUnit].proc.pid)
			}
		}
	}
	if pod := h.apiServer(port); pod != nil && !pod.deaf() {
		show("kube-apiserver", pod.proc.pid)
	}
}
