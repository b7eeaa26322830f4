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

// Login is the user as whom h would be logged in to, and whether its commands
// would go through sudo where that is not root, by the spec and what
// ~/.ssh/config says. Nothing is connected to.
func (p *Pool) Login(h cluster.Host) (user string, sudo bool, err error) {
	host, err := newHost(h, p.shared)
	if err != nil {
		return "", false, err
	}
	return host.target.user, host.target.become != becomeNone, nil
}
