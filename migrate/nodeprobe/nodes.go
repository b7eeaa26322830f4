package nodeprobe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Node is a node to probe from.
type Node struct {
	Name string // of the Node object
	Host remote.Host
}

// Config says where to probe from, and how.
type Config struct {
	Nodes []Node
	API   *rest.Config // makes and removes the pods, with an admin's rights
	Rate  float64      // requests a second for each kind
	// Run names what the figures belong to: agents of another one are not
	// gone on with.
	Run string
	// Program is this program's file.
	Program string
	// Arguments start an agent: the program's own words for Serve. The pod
	// adds --socket, --namespace, --node, --rate, --digest and --run.
	Arguments []string
}

// settleTime bounds starting the pods, and removing them.
const settleTime = 90 * time.Second

// Probes are the agents on the nodes. Its methods are safe for concurrent
// use, but for Close, which ends them.
type Probes struct {
	cfg     Config
	api     kubernetes.Interface
	digest  string
	callers map[string]*caller

	mu   sync.Mutex
	last map[string]probe.Live
}

// Start starts an agent on every node, or goes on with those that an earlier
// run of the same program left probing. The second result says of each node
// on which there is none why not; that is no reason to give up the others.
func Start(ctx context.Context, cfg Config) (*Probes, map[string]error) {
	p := &Probes{cfg: cfg, callers: map[string]*caller{}, last: map[string]probe.Live{}}
	missing := map[string]error{}
	program, err := p.prepare()
	if err != nil {
		for _, n := range cfg.Nodes {
			missing[n.Name] = err
		}
		return p, missing
	}
	sum := sha256.Sum256(program)
	p.digest = hex.EncodeToString(sum[:])
	var fresh []Node
	for _, n := range cfg.Nodes {
		c := newCaller(n.Host)
		if p.ours(ctx, c) {
			p.callers[n.Name] = c
			continue
		}
		fresh = append(fresh, n)
	}
	for n, err := range p.startOn(ctx, fresh, program) {
		missing[n] = err
	}
	return p, missing
}

// prepare makes the API client and reads this program.
func (p *Probes) prepare() (program []byte, err error) {
	if p.api, err = kubernetes.NewForConfig(p.cfg.API); err != nil {
		return nil, fmt.Errorf("making a client for the probe's pods: %w", err)
	}
	if program, err = os.ReadFile(p.cfg.Program); err != nil {
		return nil, fmt.Errorf("reading this program: %w", err)
	}
	return program, nil
}

// ours says whether an agent of this very program probes there.
func (p *Probes) ours(ctx context.Context, c *caller) bool {
	var about About
	err := c.call(ctx, "GET", "/about", &about)
	return err == nil && about.Digest == p.digest && about.Run == p.cfg.Run && about.Rate == p.cfg.Rate && about.Probing
}

// startOn starts new agents and returns why some could not be.
func (p *Probes) startOn(ctx context.Context, nodes []Node, program []byte) map[string]error {
	failed := map[string]error{}
	if len(nodes) == 0 {
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := p.prepareNamespace(ctx, len(p.callers) == 0); err != nil {
		for _, n := range nodes {
			failed[n.Name] = err
		}
		return failed
	}
	var mu sync.Mutex
	var work sync.WaitGroup
	for _, n := range nodes {
		work.Go(func() {
			c, err := p.startOne(ctx, n, program)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[n.Name] = err
				return
			}
			p.callers[n.Name] = c
		})
	}
	work.Wait()
	return failed
}

func (p *Probes) startOne(ctx context.Context, n Node, program []byte) (*caller, error) {
	if err := p.install(ctx, n.Host, program); err != nil {
		return nil, err
	}
	if err := p.makePod(ctx, n.Name); err != nil {
		return nil, err
	}
	c := newCaller(n.Host)
	var last error
	err := poll(ctx, func() (bool, error) {
		var about About
		if last = c.call(ctx, "GET", "/about", &about); last != nil {
			return false, p.ended(ctx, n.Name)
		}
		if about.Problem != "" {
			last = errors.New(about.Problem)
		}
		return about.Probing && about.Digest == p.digest && about.Run == p.cfg.Run, nil
	})
	if err != nil {
		return nil, fmt.Errorf("starting the probe on %s: %w (%w; %w)", n.Name, err, last, p.podProblem(context.WithoutCancel(ctx), n.Name))
	}
	return c, nil
}

// poll asks every half second until done, an error, or the end of ctx.
func poll(ctx context.Context, ask func() (done bool, err error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Nodes lists the nodes that are probed from, sorted.
func (p *Probes) Nodes() []string { return slices.Sorted(maps.Keys(p.callers)) }

// Dial opens a connection from the pod on a node to the kubernetes Service.
func (p *Probes) Dial(ctx context.Context, node string) (net.Conn, error) {
	c, ok := p.callers[node]
	if !ok {
		return nil, fmt.Errorf("dialing from a pod on %s: none of ours runs there", node)
	}
	return c.dial(ctx)
}

// Quiet ends the quiet measurement, as probe.Probe.Quiet does.
func (p *Probes) Quiet(ctx context.Context) error {
	return p.each(func(_ string, c *caller) error { return c.call(ctx, "POST", "/quiet", nil) })
}

// Snapshot asks all agents. What one can't be asked for now is left as it was
// when it could: a cut connection to a node says nothing about the API.
func (p *Probes) Snapshot(ctx context.Context) probe.Live {
	_ = p.each(func(node string, c *caller) error {
		var live probe.Live
		if err := c.call(ctx, "GET", "/live", &live); err != nil {
			return err
		}
		// An agent's clock is its node's; only how long ago is comparable.
		shift := time.Since(live.At)
		live.At = live.At.Add(shift)
		for i := range live.Paths {
			if live.Paths[i].Down() {
				live.Paths[i].DownSince = live.Paths[i].DownSince.Add(shift)
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last[node] = live
		return nil
	})
	all := probe.Live{At: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(p.last)) {
		all.Paths = append(all.Paths, p.last[node].Paths...)
	}
	return all
}

// Record fetches what was measured so far, by agent: the key is another one
// for each agent that ever ran, and the figures of one key only grow.
func (p *Probes) Record(ctx context.Context) (map[string]probe.Record, error) {
	return p.gather(ctx, "GET", "/record")
}

// Stop ends the measurement on all nodes and returns it. An agent that can't
// be reached is an error, and the others' figures are returned with it.
func (p *Probes) Stop(ctx context.Context) (map[string]probe.Record, error) {
	return p.gather(ctx, "POST", "/stop")
}

func (p *Probes) gather(ctx context.Context, method, path string) (map[string]probe.Record, error) {
	all := make(map[string]probe.Record, len(p.callers))
	err := p.each(func(node string, c *caller) error {
		var m measured
		if err := c.call(ctx, method, path, &m); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		all[node+"/"+m.Instance] = m.Record
		return nil
	})
	return all, err
}

// each asks all agents at the same time.
func (p *Probes) each(ask func(string, *caller) error) error {
	errs := make([]error, 0, len(p.callers))
	var mu sync.Mutex
	var work sync.WaitGroup
	for node, c := range p.callers {
		work.Go(func() {
			err := ask(node, c)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// Close removes the pods, their namespace and the copies of the program, and
// sees that they are gone. Figures not fetched before are lost.
func (p *Probes) Close(ctx context.Context) error {
	if p.api == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := p.removeNamespace(ctx); err != nil {
		return err
	}
	var errs []error
	for _, n := range p.cfg.Nodes {
		errs = append(errs, uninstall(ctx, n.Host))
	}
	return errors.Join(errs...)
}
