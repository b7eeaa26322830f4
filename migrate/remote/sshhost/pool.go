package sshhost

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// Pool hands out one Host, and so one connection, for each cluster.Host. It
// is safe for concurrent use.
type Pool struct {
	shared *shared

	mu     sync.Mutex
	hosts  map[cluster.Host]*Host
	closed bool
}

// NewPool makes an empty Pool; close it when done.
func NewPool(o Options) *Pool {
	return &Pool{shared: newShared(o), hosts: map[cluster.Host]*Host{}}
}

// Host returns the host for h, connected: errors are those of Dial. A
// connection that dies later is made again by the Host itself, for its next
// command.
func (p *Pool) Host(ctx context.Context, h cluster.Host) (remote.Host, error) {
	host, err := p.host(h)
	if err != nil {
		return nil, err
	}
	if _, err := host.connect(ctx); err != nil {
		return nil, err
	}
	return host, nil
}

func (p *Pool) host(h cluster.Host) (*Host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("connecting to %s: %w", h.Name, ErrClosed)
	}
	if host, ok := p.hosts[h]; ok {
		return host, nil
	}
	host, err := newHost(h, p.shared)
	if err != nil {
		return nil, err
	}
	p.hosts[h] = host
	return host, nil
}

// Waits notes that something is waited for which was asked through the host, the
// answer to a request on a connection of DialContext. done is the end of that.
// Options.Waits hears of it.
func (p *Pool) Waits(h cluster.Host, what string) (done func()) {
	host, err := p.host(h)
	if err != nil {
		return func() {} // then nothing can be asked there
	}
	return host.waits.begin(what)
}

// Lost is the number of connections, to all hosts, that were lost so far.
func (p *Pool) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for _, host := range p.hosts {
		sum += host.Lost()
	}
	return sum
}

// Close closes every connection.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, host := range p.hosts {
		errs = append(errs, host.Close())
	}
	p.shared.close()
	return errors.Join(errs...)
}

// AcceptedHostKeys are the keys of connected hosts and bastions that are
// trusted because --accept-new-host-keys was given, now or in an earlier
// command on this machine.
func (p *Pool) AcceptedHostKeys() []HostKey { return p.shared.trust.list() }
