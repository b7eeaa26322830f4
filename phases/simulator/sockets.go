package simulator

import (
	"fmt"
	"net"
	"strings"
)

// openSocket is a connection that the operator's program has opened from a
// machine, as `ss` there and on a load balancer's machine shows it.
type openSocket struct {
	from, by    *Host // by is the load balancer's machine, nil where none is seen to carry it
	local, peer string
	translated  string // what the load balancer's machine sees for local
}

// track notes a connection until it is closed.
func (w *World) track(conn net.Conn, from *Host, address string, by *Host) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return conn
	}
	w.ports++
	n := 32768 + w.ports%28000
	s := &openSocket{from: from, by: by, peer: net.JoinHostPort(from.resolve(name), port),
		local: fmt.Sprintf("%s:%d", from.address, n)}
	if s.translated = s.local; from.hardware.Behind != "" {
		s.translated = fmt.Sprintf("%s:%d", from.hardware.Behind, 1024+w.ports%30000)
	}
	if w.open == nil {
		w.open = map[*openSocket]bool{}
	}
	w.open[s] = true
	return &heldConn{Conn: conn, release: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, s)
	}}
}

// full says whether nginx on a load balancer's machine has no connections left
// for one more client, who takes two: it accepts and closes.
func (w *World) full(by *Host) bool {
	n := 0
	for s := range w.open {
		if by != nil && s.by == by {
			n += 2
		}
	}
	return by != nil && n+2 > by.nginx.most
}

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
