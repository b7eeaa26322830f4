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
	options Options

	mu     sync.Mutex
	hosts  map[cluster.Host]*Host
	closed bool
}

// NewPool makes an empty Pool; close it when done.
func NewPool(o Options) *Pool {
	return &Pool{options: o, hosts: map[cluster.Host]*Host{}}
}

// Host returns the host for h, connected: errors are those of Dial. A
// connection that dies later is made anew by the Host itself, for its next
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
	host, err := newHost(h, p.options)
	if err != nil {
		return nil, err
	}
	p.hosts[h] = host
	return host, nil
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
	return errors.Join(errs...)
}
