package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/nodeprobe"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/state"
)

// How says how the API is probed while it is migrated.
type How struct {
	Rate  float64       // requests a second for each path and kind; 0: not at all
	Quiet time.Duration // how long before anything is changed
	// Most is how long the API may be away beyond what a step announced. 0 means
	// that not a single request may fail.
	Most time.Duration
	Tell func(string)
	// Live is given, once it is measured, what says at any time how many requests
	// have failed; nil: nobody wants to know.
	Live func(func() string)
	// Agent is the command of this program that pods run (nodeprobe.Serve).
	Agent string
}

// InPlaceSlack is by how much the seconds that a plan announces for an edit
// in place may be exceeded before a run is stopped.
const InPlaceSlack = 30 * time.Second

const (
	// saveEvery bounds what a killed run loses of its own figures.
	saveEvery = 10 * time.Second
	lookEvery = time.Second
	// endTime bounds each part of the end of a measurement.
	endTime = 3 * time.Minute
)

// measurement probes the API from this machine and from pods, while phases
// run.
type measurement struct {
	How
	s      *run.Session
	j      *state.Journal
	gate   *gate
	probe  *probe.Probe
	cut    context.CancelFunc // ends probe at once
	nodes  *nodeprobe.Probes
	places []string // nodes where there is, or should be, a pod
	key    string   // of this run's own record

	saved    runrecord.Measurements
	lb       *probe.Path // once it is probed
	back     bool        // what runs is a rollback
	stopWork context.CancelFunc
	work     sync.WaitGroup

	mu   sync.Mutex
	live probe.Live
}

// startMeasurement begins to probe and waits until the quiet figures are
// there, or ctx or stop ends. On a resumed phase there is no quiet to measure.
func startMeasurement(ctx context.Context, s *run.Session, j *state.Journal, how How, resumed bool, stop <-chan struct{}) (*measurement, error) {
	m := &measurement{How: how, s: s, j: j, gate: newGate(how.Most), key: runrecord.OperatorKey + strconv.FormatInt(time.Now().UnixNano(), 36)}
	if _, err := j.GetBlob(runrecord.MeasurementsBlob, &m.saved); err != nil {
		return nil, err
	}
	if m.saved.Records == nil {
		m.saved.Records = map[string]probe.Record{}
	}
	if err := m.start(ctx, stop); err != nil {
		return nil, errors.Join(err, m.giveUp(ctx))
	}
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.stopWork = cancel
	if !resumed && m.Quiet > 0 {
		m.Tell(fmt.Sprintf("measuring for %s what clients see, before anything is changed", m.Quiet))
		select {
		case <-time.After(m.Quiet):
		case <-ctx.Done():
		case <-stop:
		}
	}
	m.probe.Quiet()
	if err := m.nodes.Quiet(ctx); err != nil {
		m.Tell(err.Error())
	}
	// What failed before, in quiet or in a run that was killed, is in the
	// figures and no reason to stop now.
	m.gate.accept(m.look(ctx))
	m.work.Go(func() { m.watch(working) })
	m.work.Go(func() { m.saveNowAndThen(working) })
	return m, nil
}

// start ends early when the run is asked to stop: nothing has begun yet.
func (m *measurement) start(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(migrate.ErrStopped)
		case <-ctx.Done():
		}
	}()
	err := m.begin(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (m *measurement) begin(ctx context.Context) error {
	v := m.s.Access.Reader(migrate.ClusterTarget)
	var a runrecord.About
	if _, err := m.j.GetBlob(runrecord.AboutBlob, &a); err != nil {
		return err
	}
	cfg, err := v.AdminConfig(ctx)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cfg.CertData, cfg.KeyData)
	if err != nil {
		return fmt.Errorf("reading the admin's certificate: %w", err)
	}
	places, err := placesToProbeFrom(ctx, v)
	if err != nil {
		return err
	}
	m.places = places
	if err := m.startNodes(ctx, places, a); err != nil {
		return err
	}
	paths, err := m.paths(ctx, v, places)
	if err != nil {
		return err
	}
	// It outlives ctx: how it ends is decided by end.
	probing, cut := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, cut)
	m.probe, err = probe.Start(probing, probe.Config{
		Paths: paths, CA: cfg.CAData, Rate: m.Rate, Logger: m.s.Log.Named("probe"),
		Certificate: func() (*tls.Certificate, error) { return &pair, nil },
	})
	if !release() && err == nil {
		m.probe.Stop()
		err = context.Cause(ctx)
	}
	if err != nil {
		cut()
		return err
	}
	m.cut = cut
	return nil
}

// podsOf lets the phases prove their paths from the probe's pods.
type podsOf struct{ *nodeprobe.Probes }

func (p podsOf) Dial(ctx context.Context, node string) (net.Conn, error) {
	conn, err := p.Probes.Dial(ctx, node)
	if errors.Is(err, nodeprobe.ErrUnreached) {
		return nil, fmt.Errorf("%w: %w", phases.ErrNoPod, err)
	}
	return conn, err
}

// placesToProbeFrom: kube-proxy's rules have another effect on the first
// control-plane node than on a worker.
func placesToProbeFrom(ctx context.Context, v phases.Reader) ([]string, error) {
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	places := []string{v.First().Name}
	if len(workers) > 0 {
		places = append(places, workers[0].Name)
	}
	return places, nil
}

// startNodes starts the probes in pods. A node where that is not possible is
// told, and probed from its own network instead.
func (m *measurement) startNodes(ctx context.Context, places []string, a runrecord.About) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	cfg, err := m.s.Access.Reader(migrate.ClusterTarget).AdminConfig(ctx)
	if err != nil {
		return err
	}
	var nodes []nodeprobe.Node
	for _, place := range places {
		nodes = append(nodes, nodeprobe.Node{Name: place, Host: m.s.Access.Writer(place).On(place)})
	}
	m.saved.Left = true
	if err := m.j.PutBlob(runrecord.MeasurementsBlob, m.saved); err != nil {
		return err
	}
	k, err := m.s.Access.Writer(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	var missing map[string]error
	m.nodes, missing = nodeprobe.Start(ctx, nodeprobe.Config{
		Nodes: nodes, API: cfg, Rate: m.Rate, Program: program, Arguments: []string{m.Agent},
		Run: strconv.FormatInt(a.StartedAt.UnixNano(), 36), CPULeft: k.CPULeft,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, place := range slices.Sorted(maps.Keys(missing)) {
		m.Tell(fmt.Sprintf("no probe in a pod on %s, the node's own network is used instead: %v", place, missing[place]))
	}
	m.s.Access.UsePods(podsOf{m.nodes})
	return nil
}

// paths are those that are probed from this program.
func (m *measurement) paths(ctx context.Context, v phases.Reader, places []string) ([]probe.Path, error) {
	old, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	paths := []probe.Path{m.fromHere(ctx, v, "old-address", old)}
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	ip, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		if slices.Contains(m.nodes.Nodes(), place) {
			continue
		}
		paths = append(paths, probe.Path{Name: "service", From: place + " (host network)",
			URL: "https://" + net.JoinHostPort(ip, "443"), Dial: kube.Dialer(v.On(place).DialContext)})
	}
	return paths, nil
}

// fromHere is a path from this machine where that reaches the address, else
// through the SSH connection to a node. A refused connection was reached.
func (m *measurement) fromHere(ctx context.Context, v phases.Reader, name, address string) probe.Path {
	path := probe.Path{Name: name, From: "operator", URL: "https://" + address}
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		return path
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return path
	}
	from := v.First().Name
	if workers, err := v.Workers(ctx); err == nil && len(workers) > 0 {
		from = workers[0].Name
	}
	m.Tell(fmt.Sprintf("%s is not reached from this machine (%v): it is probed from %s", address, err, from))
	path.From, path.Dial = from+" (host network)", kube.Dialer(v.On(from).DialContext)
	return path
}

// Event adds the load balancer once it serves, and takes it out before the
// way back takes it away.
func (m *measurement) Event(e migrate.Event) {
	m.gate.Event(e)
	serves := balancers.Of(m.s.Spec).Serves
	if e.Step == serves && e.Kind == migrate.EventStepUndoing {
		if m.lb != nil {
			if err := m.probe.RemovePath(m.lb.Name, m.lb.From); err != nil {
				m.Tell(err.Error())
			}
		}
		return
	}
	done := e.Kind == migrate.EventStepDone || e.Kind == migrate.EventStepSatisfied
	if m.lb != nil || e.Phase == 1 && !m.back && !(done && e.Step == serves) {
		return
	}
	v := m.s.Access.Reader(migrate.ClusterTarget)
	path := m.fromHere(context.Background(), v, "load-balancer", v.EndpointAddress())
	m.lb = &path
	if err := m.probe.AddPath(path); err != nil {
		m.Tell("probing the load balancer: " + err.Error())
	}
}

// watch looks every second.
func (m *measurement) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.gate.look(m.look(ctx))
		}
	}
}

// saveNowAndThen is beside watch: fetching the figures of a node that hangs
// takes long, and the gate must not wait for it.
func (m *measurement) saveNowAndThen(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for told := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		nodes, unreached := m.nodes.Record(ctx)
		if ctx.Err() != nil {
			return
		}
		err := m.save(nodes, unreached)
		if err != nil && !told {
			m.Tell(fmt.Sprintf("a part of what clients see is not known at present: %v", err))
		}
		told = err != nil
	}
}

// look takes the figures of this second.
func (m *measurement) look(ctx context.Context) probe.Live {
	live := m.probe.Snapshot()
	live.Paths = append(live.Paths, m.nodes.Snapshot(ctx).Paths...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = live
	return live
}

// save writes all figures to the journal; what could not be fetched now stays
// as it was.
func (m *measurement) save(nodes map[string]probe.Record, unreached error) error {
	return errors.Join(unreached, m.saved.Keep(m.j, nodes, map[string]probe.Record{m.key: m.probe.Record()}))
}

// Failures is how many requests have failed until a second ago.
func (m *measurement) Failures() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live.Failures()
}
