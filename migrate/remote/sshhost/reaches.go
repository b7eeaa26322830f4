package sshhost

import (
	"net"

	"hamigrate/migrate/cluster"
)

// Reaches is the name or address at which h would be dialed, by what
// ~/.ssh/config says of it. Nothing is connected to.
func (p *Pool) Reaches(h cluster.Host) (string, error) {
	host, err := newHost(h, p.shared)
	if err != nil {
		return "", err
	}
	reached, _, err := net.SplitHostPort(host.target.address)
	return reached, err
}
