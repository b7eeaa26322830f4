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

	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/wait"
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
	// CPULeft says how much of a node's CPU no pod but the one of that name
	// has asked for. Nil: the pods ask for none.
	CPULeft func(ctx context.Context, node, except string) (apiresource.Quantity, error)
}

const (
	// settleTime bounds starting the pods, and removing them.
	settleTime = 90 * time.Second
	// installTime bounds copying the program, over the operator's line.
	installTime = 5 * time.Minute
	// uninstallTime bounds removing it from one node.
	uninstallTime = 30 * time.Second
)

// Probes are the agents on the nodes. Its methods are safe for concurrent
// use, but for Close, which ends them.
type Probes struct {
	cfg     Config
	api     kubernetes.Interface
	digest  string
	callers map[string]*caller
	made    bool // the namespace is there and ours
	// earlier is what replaced agents of the same run had measured.
	earlier map[string]probe.Record

	mu      sync.Mutex
	touched map[string]bool // nodes that may hold something of ours
	last    map[string]probe.Live
}

// Start starts an agent on every node, or goes on with those that an earlier
// run of the same program left probing. The second result says of each node
// on which there is none why not; that is no reason to give up the others.
func Start(ctx context.Context, cfg Config) (*Probes, map[string]error) {
	api, err := kubernetes.NewForConfig(cfg.API)
	if err != nil {
		err = fmt.Errorf("making a client for the probe's pods: %w", err)
		return newProbes(cfg, nil), everywhere(cfg.Nodes, err)
	}
	return start(ctx, cfg, api)
}

func newProbes(cfg Config, api kubernetes.Interface) *Probes {
	return &Probes{
		cfg: cfg, api: api, callers: map[string]*caller{},
		earlier: map[string]probe.Record{}, touched: map[string]bool{}, last: map[string]probe.Live{},
	}
}

func start(ctx context.Context, cfg Config, api kubernetes.Interface) (*Probes, map[string]error) {
	p := newProbes(cfg, api)
	program, err := os.ReadFile(cfg.Program)
	if err != nil {
		return p, everywhere(cfg.Nodes, fmt.Errorf("reading this program: %w", err))
	}
	sum := sha256.Sum256(program)
	p.digest = hex.EncodeToString(sum[:])
	var fresh []Node
	for _, n := range cfg.Nodes {
		if !p.goOn(ctx, n) {
			fresh = append(fresh, n)
		}
	}
	return p, p.startOn(ctx, fresh, program)
}

// everywhere is one reason for all nodes.
func everywhere(nodes []Node, why error) map[string]error {
	all := map[string]error{}
	for _, n := range nodes {
		all[n.Name] = why
	}
	return all
}

// goOn takes over the agent of an earlier run, if it is of this very program
// and probes as wanted. Of one that does not (it was alone for too long, or
// the program is a newer one) the figures are kept, if they are this run's.
func (p *Probes) goOn(ctx context.Context, n Node) bool {
	c := newCaller(n.Host)
	var about About
	if err := c.call(ctx, "GET", "/about", &about); err != nil {
		return false // none is there, or none that can be asked
	}
	p.touched[n.Name] = true
	if p.wanted(about) && about.Probing {
		p.callers[n.Name], p.made = c, true
		return true
	}
	var m measured
	if about.Run != p.cfg.Run || c.call(ctx, "POST", "/stop", &m) != nil {
		return false
	}
	p.earlier[recordKey(n.Name, m)] = m.Record
	return false
}

// wanted says whether an agent is one that we would start.
func (p *Probes) wanted(about About) bool {
	return about.Digest == p.digest && about.Run == p.cfg.Run && about.Rate == p.cfg.Rate
}

// startOn starts new agents and returns why some could not be.
func (p *Probes) startOn(ctx context.Context, nodes []Node, program []byte) map[string]error {
	if len(nodes) == 0 {
		return map[string]error{}
	}
	if err := p.prepareNamespace(ctx, len(p.callers) == 0); err != nil {
		return everywhere(nodes, err)
	}
	failed := map[string]error{}
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
	if err := p.install(ctx, n, program); err != nil {
		return nil, err
	}
	settling, cancel := within(ctx, settleTime)
	defer cancel()
	if err := p.makePod(settling, n.Name); err != nil {
		return nil, err
	}
	c := newCaller(n.Host)
	var last error
	err := poll(settling, func() (bool, error) {
		var about About
		if last = c.call(settling, "GET", "/about", &about); last != nil {
			return false, p.ended(settling, n.Name)
		}
		switch {
		case !p.wanted(about):
			last = errors.New("another agent than the new one answers")
			return false, nil
		case about.Problem != "":
			last = errors.New(about.Problem)
		default:
			last = errors.New("it has not begun yet")
		}
		return about.Probing, nil
	})
	if err != nil {
		return nil, p.notStarted(ctx, n.Name, err, last)
	}
	return c, nil
}

// notStarted says of a pod that did not begin to probe all that is known. Once
// ctx has ended nobody waits for that.
func (p *Probes) notStarted(ctx context.Context, node string, err, last error) error {
	err = fmt.Errorf("%w (%w)", err, last)
	if ctx.Err() == nil {
		err = fmt.Errorf("%w; %w", err, p.podProblem(ctx, node))
	}
	return fmt.Errorf("starting the probe on %s: %w", node, err)
}

// within bounds ctx; its end then says by what.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not within %s: %w", d, context.DeadlineExceeded))
}

// poll asks four times a second until done, an error, or the end of ctx.
func poll(ctx context.Context, ask func() (done bool, err error)) error {
	const interval, atOnce = 250 * time.Millisecond, true
	err := wait.PollUntilContextCancel(ctx, interval, atOnce, func(context.Context) (bool, error) { return ask() })
	if ended := ctx.Err(); ended != nil && err == ended { // of this loop, and not of what was asked
		return context.Cause(ctx) // says which time is over
	}
	return err
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

// Snapshot asks all agents, for two seconds at most. What one can't be asked
// for now is left as it was when it could: a cut connection to a node says
// nothing about the API.
func (p *Probes) Snapshot(ctx context.Context) probe.Live {
	ctx, cancel := within(ctx, liveTime)
	defer cancel()
	_ = p.each(func(node string, c *caller) error {
		var live probe.Live
		if err := c.call(ctx, "GET", "/live", &live); err != nil {
			return err
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
		all.Paths = append(all.Paths, asOf(all.At, p.last[node])...)
	}
	return all
}

// asOf moves an agent's times to ours: its clock is its node's, and only how
// long ago something was is comparable. What was down when it was asked last
// has been down for as long as it had been then.
func asOf(now time.Time, live probe.Live) []probe.LivePath {
	shift := now.Sub(live.At)
	paths := slices.Clone(live.Paths)
	for i := range paths {
		for _, at := range []*time.Time{&paths[i].DownSince, &paths[i].LastErrorAt} {
			if !at.IsZero() {
				*at = at.Add(shift)
			}
		}
	}
	return paths
}

// Record fetches what was measured so far, by agent: the key is another one
// for each agent that ever ran, and the figures of one key only grow. An
// agent that can't be reached is an error, and the others' figures are
// returned with it.
func (p *Probes) Record(ctx context.Context) (map[string]probe.Record, error) {
	return p.gather(ctx, "GET", "/record")
}

// Stop ends the measurement on all nodes and returns it, as Record does.
func (p *Probes) Stop(ctx context.Context) (map[string]probe.Record, error) {
	return p.gather(ctx, "POST", "/stop")
}

func (p *Probes) gather(ctx context.Context, method, path string) (map[string]probe.Record, error) {
	all := maps.Clone(p.earlier)
	err := p.each(func(node string, c *caller) error {
		var m measured
		if err := c.call(ctx, method, path, &m); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		all[recordKey(node, m)] = m.Record
		return nil
	})
	return all, err
}

func recordKey(node string, m measured) string { return node + "/" + m.Instance }

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

// Close removes what Start made, here or in an earlier run that was gone on
// with: the pods, their namespace and the copies of the program. It sees that
// they are gone; the error says what is not. Figures not fetched before are
// lost.
func (p *Probes) Close(ctx context.Context) error {
	var errs []error
	if p.made {
		errs = append(errs, p.removeNamespace(ctx))
	}
	for _, n := range p.cfg.Nodes {
		if p.touched[n.Name] {
			errs = append(errs, uninstall(ctx, n.Host))
		}
	}
	return errors.Join(errs...)
}
