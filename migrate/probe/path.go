package probe

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// Kind is one way of using the API.
type Kind string

// The kinds, in the order of a result.
const (
	NewConnectionRead Kind = "new connection read"
	KeptRead          Kind = "kept read"
	KeptWrite         Kind = "kept write"
	Watch             Kind = "watch"
)

// pathProbe probes one path.
type pathProbe struct {
	path    Path
	series  []*series // in the order of the kinds
	loops   sync.WaitGroup
	ledger  *ledger
	watcher *watcher

	open          []*openLoop
	watching      sync.WaitGroup
	fresh         func()
	reads, writes *api
	watches       *api

	stopSend, stopWork context.CancelFunc
	ended              bool // by RemovePath; Probe.mu guards it
}

// newPathProbe makes what probes a path, without starting it; p.mu is held.
// number counts the probe's paths from 1.
func (p *Probe) newPathProbe(ep *endpoint, number int) (*pathProbe, error) {
	pp := &pathProbe{path: ep.path}
	logger := p.cfg.Logger.With("path", ep.path.Name, "from", ep.path.From)
	for _, kind := range []Kind{NewConnectionRead, KeptRead, KeptWrite, Watch} {
		pp.series = append(pp.series, newSeries(kind, p.interval, logger.With("kind", string(kind))))
	}
	for i, client := range []**api{&pp.reads, &pp.writes, &pp.watches} {
		made, err := ep.kept(p.target.namespace, pp.series[i+1].connected)
		if err != nil {
			return nil, err
		}
		*client = made
	}
	label := fmt.Sprintf("path-%d-%s", number, p.runID)
	pp.ledger = newLedger(pp.series[3])
	pp.watcher = &watcher{
		api: pp.watches, path: label, series: pp.series[3], ledger: pp.ledger,
		interval: p.interval, timeout: p.cfg.Timeout, cut: make(chan struct{}, 1),
	}
	fresh := &freshReader{client: ep.fresh(pp.series[0].connected), base: ep.base.Scheme + "://" + ep.base.Host, target: p.target}
	pp.fresh = fresh.client.CloseIdleConnections
	kept := &keptReader{api: pp.reads, target: p.target}
	writer := &writer{api: pp.writes, ledger: pp.ledger, path: label}
	for i, send := range []func(context.Context, uint64) error{fresh.read, kept.read, writer.write} {
		pp.open = append(pp.open, &openLoop{
			series: pp.series[i], interval: p.interval, offset: p.offset(), timeout: p.cfg.Timeout, pulse: &p.pulse, send: send,
		})
	}
	return pp, nil
}

// offset spreads the series over the interval, so that they do not all send
// at the same instant and measure each other. Multiples of the golden ratio
// leave no two close together, however many there will be; p.mu is held.
func (p *Probe) offset() time.Duration {
	_, fraction := math.Modf(float64(p.seriesMade) * math.Phi)
	p.seriesMade++
	return time.Duration(fraction * float64(p.interval))
}

// start begins: sending ends the sending of requests, working all of it.
func (pp *pathProbe) start(sending, working context.Context) {
	working, pp.stopWork = context.WithCancel(working)
	sending, stop := context.WithCancel(sending)
	pp.stopSend = stop
	context.AfterFunc(working, stop)
	for _, loop := range pp.open {
		pp.loops.Go(func() { loop.run(sending, working) })
	}
	pp.watching.Go(func() { pp.watcher.run(working) })
}

// close closes the connections.
func (pp *pathProbe) close() {
	pp.fresh()
	pp.reads.close()
	pp.writes.close()
	pp.watches.close()
}
