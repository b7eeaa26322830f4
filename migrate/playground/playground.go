// Package playground makes and removes practice clusters: a real kubeadm
// cluster with one control-plane node, the hosts it is to grow onto and a
// load balancer, each a systemd-nspawn machine of its own on this computer.
//
// A playground is a folder (Options.Dir/Options.Name), a network namespace
// with a bridge in it, one veth pair to reach the hosts through, and one
// systemd-nspawn process a host. Nothing else is touched: the bridge lives in
// a namespace of its own, so that no firewall rule of this machine applies to
// the traffic between the hosts and none has to be made; each host's root is
// mounted in a mount namespace of its own, so that the mount goes when the
// host goes. That is what lets Down clean up after a kill at any instant.
//
// Only the inotify limits of this machine are raised (ten hosts with systemd,
// containerd and kubelet need more than Debian's 128 instances). They are
// ceilings, cost nothing unused, and are not lowered again.
package playground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Events receives what is happening, one plain sentence a call without a
// final full stop, for a person. It may be called from several goroutines.
type Events func(message string)

// Playground is one practice cluster on this machine.
type Playground struct {
	dir    string // Options.Dir/Options.Name, absolute
	state  state
	hosts  []Host
	events Events
}

// Dir is the playground's folder, absolute.
func (p *Playground) Dir() string { return p.dir }

// Hosts returns the hosts, the load balancer first. The slice is the
// caller's.
func (p *Playground) Hosts() []Host { return append([]Host(nil), p.hosts...) }

// SpecFile is the ready spec file for this playground.
func (p *Playground) SpecFile() string { return filepath.Join(p.dir, "migrate.yaml") }

// Kubeconfig is a kubeconfig file with an administrator's rights that talks
// to the first control-plane node.
func (p *Playground) Kubeconfig() string { return filepath.Join(p.dir, "kubeconfig") }

// KnownHosts is a known_hosts file with the keys of all hosts.
func (p *Playground) KnownHosts() string { return filepath.Join(p.dir, "known_hosts") }

// Identity is the private key that all hosts accept.
func (p *Playground) Identity() string { return filepath.Join(p.dir, "id_ed25519") }

// User is who logs in over SSH: root, or the sudo user.
func (p *Playground) User() string {
	if p.state.SudoUser != "" {
		return p.state.SudoUser
	}
	return "root"
}

// host finds a host by name.
func (p *Playground) host(name string) (Host, error) {
	names := make([]string, len(p.hosts))
	for i, h := range p.hosts {
		if h.Name == name {
			return h, nil
		}
		names[i] = h.Name
	}
	return Host{}, &UserError{
		Problem: fmt.Sprintf("playground %s has no host %q", p.state.Name, name),
		Remedy:  fmt.Sprintf("name one of %s", sentenceList(names)),
	}
}

// ErrNotFound is returned by Open when there is no such playground.
var ErrNotFound = errors.New("no such playground")

// Open returns the playground of that name below root (DefaultDir unless
// another was given to Up). It may be half made: see Status. None there is
// ErrNotFound.
func Open(root, name string, events Events) (*Playground, error) {
	if events == nil {
		events = func(string) {}
	}
	dir, err := playgroundDir(root, name)
	if err != nil {
		return nil, err
	}
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) && exists(dir) {
		// Interrupted at its very beginning or end: there to be taken down.
		return newPlayground(dir, state{Options: Options{Name: name, Dir: filepath.Dir(dir)}, Slot: -1}, events), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, dir)
	}
	if err != nil {
		return nil, err
	}
	return newPlayground(dir, s, events), nil
}

// lock is the lock of the playground's folder; see the function lock.
func (p *Playground) lock(ctx context.Context) (unlock func(), err error) {
	return lock(ctx, p.dir, func() {
		p.events("waiting for another command on playground " + p.state.Name + " to end")
	})
}

func newPlayground(dir string, s state, events Events) *Playground {
	return &Playground{dir: dir, state: s, hosts: layOut(s), events: events}
}

// Up makes a playground and returns when its cluster is ready and has its
// objects. One that is there already and was made with the same options is
// checked instead, its stopped hosts started and missing objects written; one
// half made is taken down and made again. Ends early
// with ctx's error; what is there by then is removed by Down (or the next Up).
// Mistakes and missing requirements are *UserError.
func Up(ctx context.Context, o Options, events Events) (*Playground, error) {
	if events == nil {
		events = func(string) {}
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := preflight(o); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, o.Name)
	p := newPlayground(dir, state{Options: o, Created: time.Now().UTC().Truncate(time.Second), Slot: -1}, events)
	unlock, err := p.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	s, err := readState(dir)
	switch {
	case err == nil && s.Ready:
		return upAgain(ctx, newPlayground(dir, s, events), o)
	case err == nil:
		events(fmt.Sprintf("playground %s was left half made: taking it down first", o.Name))
		if err := newPlayground(dir, s, events).down(ctx); err != nil {
			return nil, fmt.Errorf("taking down the half-made playground: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// Not of one that is there: its objects are in memory already.
	if err := checkMemory(o.Objects); err != nil {
		return nil, err
	}
	if err := p.save(); err != nil {
		return nil, err
	}
	return p.make(ctx)
}

// upAgain is Up of a playground that is there: same wishes, all hosts on,
// cluster ready, all objects there.
func upAgain(ctx context.Context, p *Playground, o Options) (*Playground, error) {
	if diff := p.state.Options.differs(o); diff != "" {
		return nil, &UserError{
			Problem: fmt.Sprintf("playground %s is there already, made with another %s", o.Name, diff),
			Remedy:  fmt.Sprintf("run `migrate playground down --name %s` first, or choose another --name", o.Name),
		}
	}
	p.events(fmt.Sprintf("playground %s is there already: checking it", o.Name))
	if err := p.startNetwork(ctx); err != nil {
		return nil, err
	}
	err := each(ctx, p.hosts, len(p.hosts), func(ctx context.Context, h Host) error {
		if p.running(h) {
			return nil
		}
		p.events(h.Name + " is off: starting it")
		return p.startHost(ctx, h)
	})
	if err != nil {
		return nil, err
	}
	if err := p.waitReady(ctx); err != nil {
		return nil, err
	}
	return p, p.fill(ctx)
}

// Down stops the hosts and removes everything the playground made. It works
// on a half-made playground and is complete when it returns nil.
func (p *Playground) Down(ctx context.Context) error {
	if err := needRoot(); err != nil {
		return err
	}
	unlock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return p.down(ctx)
}

// StopHost cuts a host's power: its processes end at once, its disk stays.
// A host that is off is left as it is.
func (p *Playground) StopHost(ctx context.Context, name string) error {
	if err := needRoot(); err != nil {
		return err
	}
	h, err := p.host(name)
	if err != nil {
		return err
	}
	unlock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return p.powerOff(ctx, h)
}

// StartHost switches a stopped host on and returns when it has booted and its
// sshd answers. A host that is on is left as it is.
func (p *Playground) StartHost(ctx context.Context, name string) error {
	if err := needRoot(); err != nil {
		return err
	}
	h, err := p.host(name)
	if err != nil {
		return err
	}
	unlock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if p.running(h) {
		return nil
	}
	if err := p.startNetwork(ctx); err != nil {
		return err
	}
	return p.startHost(ctx, h)
}
