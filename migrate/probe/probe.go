package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of Config.
const (
	DefaultNamespace = "migrate-probe"
	DefaultRate      = 20.0
	DefaultTimeout   = 2 * time.Second
	DefaultEventWait = 10 * time.Second
)

// Path is one way to the API, as a client would take it.
type Path struct {
	// Name is "load-balancer", "old-address" or "service".
	Name string
	// From is where the requests are sent from: "operator" or a node's name.
	// Name and From together are unique; the paths of one name become one
	// entry of the result.
	From string
	// URL is https://host:port. Host and port are dialled, and the host is
	// the name that the serving certificate must hold.
	URL string
	// Dial opens a connection; nil dials from this machine. For "service" it
	// is a connection from a node (SSH direct-tcpip), so that each new
	// connection passes the rules of that node's kube-proxy.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Config says what to probe and how.
type Config struct {
	// Paths are probed from the start; at least one must work then.
	Paths []Path
	// CA is the cluster's CA in PEM form.
	CA []byte
	// Token returns the bearer token for a request, Certificate the client
	// certificate for a new connection. Both may be called at any time and
	// concurrently, so credentials can be renewed. At least one is set.
	Token       func() (string, error)
	Certificate func() (*tls.Certificate, error)
	// Namespace is made for the probe and deleted at the end. Probes that
	// run at the same time need one each. Default DefaultNamespace.
	Namespace string
	// Guest: the namespace is there and somebody else's. It is neither made
	// nor deleted, and other guests may probe in it at the same time.
	Guest bool
	// Rate is in requests a second for each path and kind. Default
	// DefaultRate.
	Rate float64
	// Timeout is when a request counts as failed. Default DefaultTimeout.
	Timeout time.Duration
	// EventWait is how long Stop waits for events that are still owed.
	// Default DefaultEventWait.
	EventWait time.Duration
	// Logger gets the beginning and the end of each run of failures. Nil
	// means no log.
	Logger hclog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Paths) == 0 {
		return c, errors.New("the probe needs at least one path")
	}
	if c.Token == nil && c.Certificate == nil {
		return c, errors.New("the probe needs a bearer token or a client certificate")
	}
	if c.Rate < 0 || c.Rate > 1000 || math.IsNaN(c.Rate) {
		return c, fmt.Errorf("the probe's rate must be above 0 and at most 1000 a second, not %v", c.Rate)
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.EventWait <= 0 {
		c.EventWait = DefaultEventWait
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c, nil
}

// Probe is a running measurement. Its methods are safe for concurrent use.
type Probe struct {
	cfg      Config
	interval time.Duration
	runID    string // makes the names of this probe's objects its own
	target   target
	pulse    pulse

	sending    context.Context // ends: no more requests are sent
	stopSend   context.CancelFunc
	working    context.Context // ends: requests and watches are cut short
	stopWork   context.CancelFunc
	quietOnce  sync.Once
	stopOnce   sync.Once
	result     Result
	mu         sync.Mutex
	paths      []*pathProbe
	seriesMade int
	stopped    bool
	leftover   string // why the namespace was not deleted
}

// Start makes the probe's namespace and begins to probe cfg.Paths. It returns
// an error when the configuration is not usable or when none of the paths
// let it make the namespace. A path that does not work is no error: finding
// that out is what the probe is for.
//
// When ctx ends, everything stops at once, and what was under way is left out
// of the account; for a full one, call Stop before that. Stop must be called
// in any case: it deletes the namespace.
func Start(ctx context.Context, cfg Config) (*Probe, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Probe{
		cfg:      cfg,
		interval: time.Duration(float64(time.Second) / cfg.Rate),
		// Random as well: guests of one namespace may start at one instant.
		runID: strconv.FormatInt(time.Now().UnixMilli(), 36) + strconv.FormatInt(rand.Int64N(36*36*36), 36),
	}
	for i, path := range cfg.Paths {
		if _, err := newEndpoint(cfg, path); err != nil {
			return nil, err
		}
		for _, other := range cfg.Paths[:i] {
			if err := distinct(path, other); err != nil {
				return nil, err
			}
		}
	}
	if p.target, err = p.prepare(ctx); err != nil {
		return nil, err
	}
	p.working, p.stopWork = context.WithCancel(ctx)
	p.sending, p.stopSend = context.WithCancel(p.working)
	go p.pulse.run(p.working)
	for _, path := range cfg.Paths {
		if err := p.AddPath(path); err != nil {
			p.Stop()
			return nil, err
		}
	}
	return p, nil
}

func distinct(a, b Path) error {
	if a.Name == b.Name && a.From == b.From {
		return fmt.Errorf("path %s from %q is given twice", a.Name, a.From)
	}
	return nil
}

// AddPath begins to probe one more path. It returns an error when the path is
// not usable as given, is there already, or the probe has been stopped.
func (p *Probe) AddPath(path Path) error {
	ep, err := newEndpoint(p.cfg, path)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return fmt.Errorf("adding path %s: the probe has been stopped", path.Name)
	}
	for _, pp := range p.paths {
		if err := distinct(path, pp.path); err != nil && !pp.ended {
			return err
		}
	}
	pp, err := p.newPathProbe(ep, len(p.paths)+1)
	if err != nil {
		return err
	}
	p.paths = append(p.paths, pp)
	pp.start(p.sending, p.working)
	return nil
}

// RemovePath ends the probing of one path, as Stop ends that of all: it waits
// for the answers and events still due. Its figures stay. It returns an error
// when there is no such path.
func (p *Probe) RemovePath(name, from string) error {
	p.mu.Lock()
	i := slices.IndexFunc(p.paths, func(pp *pathProbe) bool { return pp.path.Name == name && pp.path.From == from && !pp.ended })
	if i < 0 || p.stopped {
		p.mu.Unlock()
		return fmt.Errorf("removing path %s from %q: it is not probed", name, from)
	}
	pp := p.paths[i]
	pp.ended = true
	p.mu.Unlock()
	pp.stopSend()
	pp.loops.Wait()
	p.settle([]*pathProbe{pp})
	pp.stopWork()
	pp.watching.Wait()
	pp.close()
	return nil
}

// Quiet marks the end of the quiet measurement: requests sent before it make
// the quiet figures, those after it all others. Only the first call counts.
func (p *Probe) Quiet() {
	p.quietOnce.Do(func() {
		for _, pp := range p.probes() {
			for _, s := range pp.series {
				s.endQuiet()
			}
		}
	})
}

// Stop ends the measurement and returns its figures: it sends no more, waits
// for the answers still due (Config.Timeout) and for the events still owed
// (Config.EventWait), then deletes the namespace. Later calls return the same.
func (p *Probe) Stop() Result {
	p.stopOnce.Do(func() {
		p.mu.Lock()
		p.stopped = true
		p.mu.Unlock()
		p.stopSend()
		paths := p.probes()
		for _, pp := range paths {
			pp.loops.Wait()
		}
		p.settle(paths)
		p.stopWork()
		for _, pp := range paths {
			pp.watching.Wait()
		}
		// The caller's context may have ended; the namespace goes anyway.
		if err := p.removeNamespace(context.WithoutCancel(p.working), paths); err != nil {
			p.mu.Lock()
			p.leftover = err.Error()
			p.mu.Unlock()
			p.cfg.Logger.Warn("the probe's namespace is left over", "error", err)
		}
		p.result = Results(p.Record())
		for _, pp := range paths {
			pp.close()
		}
	})
	return p.result
}

// settle waits until no event is owed, and writes off what does not come.
// Halfway it ends the watches, which are then started again from where they
// were: a watch whose connection is dead without knowing it is no missed
// event. When the caller's context has ended nothing is judged.
func (p *Probe) settle(paths []*pathProbe) {
	half := time.NewTimer(p.cfg.EventWait / 2)
	defer half.Stop()
	end := time.NewTimer(p.cfg.EventWait)
	defer end.Stop()
	for _, pp := range paths {
		for settled := pp.ledger.whenSettled(); settled != nil; {
			select {
			case <-p.working.Done():
				return
			case <-settled:
				settled = nil
			case <-half.C:
				cutWatches(paths)
			case <-end.C:
				for _, pp := range paths {
					pp.ledger.writeOff()
				}
				return
			}
		}
	}
}

func cutWatches(paths []*pathProbe) {
	for _, pp := range paths {
		select {
		case pp.watcher.cut <- struct{}{}:
		default:
		}
	}
}

func (p *Probe) probes() []*pathProbe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*pathProbe(nil), p.paths...)
}
