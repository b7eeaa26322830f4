package probe

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

func TestDroppedEventIsMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) { f.store.deafen(2) })
		k := kind(t, r, Watch)
		if *k.MissedEvents != 2 || k.Failures != 2 || r.MissedEvents() != 2 || r.Failures() != 2 {
			t.Errorf("missed %d, failures %d of %v, want 2", *k.MissedEvents, r.Failures(), k.Reasons)
		}
		for reason := range k.Reasons {
			if !strings.HasPrefix(reason, "event never arrived: ") {
				t.Errorf("reason %q", reason)
			}
		}
	})
}

func TestCutWatchIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) {
			for range 3 {
				f.cutWatches()
				time.Sleep(200 * time.Millisecond)
			}
		})
		noFailure(t, r)
		k := kind(t, r, Watch)
		if *k.Rewatches != 3 || f.watchStart.Load() != 4 || k.LongestGapSeconds != fakeLatency.Seconds() {
			t.Errorf("%d watches started again, %d in all, gap %v s", *k.Rewatches, f.watchStart.Load(), k.LongestGapSeconds)
		}
	})
}

// TestWatchesThatEndAtOnce: a server that ends every watch is not asked more
// often than once an interval.
func TestWatchesThatEndAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) {
			for range 2000 {
				f.cutWatches()
				time.Sleep(time.Millisecond)
			}
		})
		noFailure(t, r)
		if k := kind(t, r, Watch); *k.Rewatches < 35 || *k.Rewatches > 45 {
			t.Errorf("%d watches started again in 2 s, want one an interval", *k.Rewatches)
		}
	})
}

// TestTooOldVersion is an API server that was restarted: its watch cache
// begins after the last version seen. What was written in between is missed.
func TestTooOldVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) {
			f.store.deafen(1 << 20)
			time.Sleep(500 * time.Millisecond)
			f.store.compact()
			f.cutWatches()
			f.store.deafen(0)
		})
		k := kind(t, r, Watch)
		if *k.MissedEvents < 10 || *k.MissedEvents > 12 {
			t.Errorf("%d missed events, want those of half a second", *k.MissedEvents)
		}
		if k.Failures != *k.MissedEvents+1 || k.Reasons["status 410"] != 1 {
			t.Errorf("%d failures: %v", k.Failures, k.Reasons)
		}
	})
}

// TestRefusedWatchIsFailure: client-go returns an empty watch and no error
// when a watch request gets no answer; it is a failed request all the same.
func TestRefusedWatchIsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) {
			f.hangWatch.Store(true)
			f.cutWatches()
			time.Sleep(3 * time.Second)
			f.hangWatch.Store(false)
			time.Sleep(time.Second)
		})
		k := kind(t, r, Watch)
		if k.Failures != 2 || k.Reasons["waiting for the answer: no answer within 2s"] != 2 || *k.MissedEvents != 0 {
			t.Errorf("reasons %v, want two requests without an answer", k.Reasons)
		}
		if k.LongestGapSeconds < 4 || k.LongestGapSeconds > 4.1 {
			t.Errorf("gap %v, want 4", k.LongestGapSeconds)
		}
	})
}

// TestCutWatchRequestIsFailure is the other error that client-go hides: a
// connection that closes before the watch is answered.
func TestCutWatchRequestIsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) {
			f.hangWatch.Store(true)
			f.cutWatches()
			time.Sleep(500 * time.Millisecond)
			f.down()
			f.up()
			f.hangWatch.Store(false)
		})
		k := kind(t, r, Watch)
		if k.Failures != 1 || *k.MissedEvents != 0 || k.LongestGapSeconds < 0.5 || k.LongestGapSeconds > 0.6 {
			t.Errorf("failures %v, gap %v, want one closed connection, 0.5", k.Reasons, k.LongestGapSeconds)
		}
	})
}

func TestLostReplyOwesNoEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ledger *ledger
		_, r := measure(t, func(_ *testing.T, f *fakeServer, p *Probe) {
			f.loseReply.Store(3)
			ledger = p.probes()[0].ledger
		})
		if left := len(ledger.open); left != 0 {
			t.Errorf("%d accounts are left open", left)
		}
		k := kind(t, r, KeptWrite)
		if k.Failures != 3 || r.MissedEvents() != 0 || r.Failures() != 3 || k.Replays != 0 {
			t.Errorf("failures %d in all, of the writes %v, %d sent again", r.Failures(), k.Reasons, k.Replays)
		}
	})
}

// TestDeadWatchAtTheEnd: events that a dead connection holds back come with
// the watch that Stop starts again.
func TestDeadWatchAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) { f.deaf.Store(true) })
		noFailure(t, r)
		k := kind(t, r, Watch)
		if want := 1000 + float64(DefaultEventWait.Milliseconds())/2; k.MaxMs < want-50 || k.MaxMs > want+50 || *k.Rewatches != 1 {
			t.Errorf("slowest event %v ms, want %v; %d watches started again, want 1", k.MaxMs, want, *k.Rewatches)
		}
	})
}

func TestLedger(t *testing.T) {
	t.Parallel()
	made := event{name: "a", kind: watch.Added}
	changed := event{name: "a", kind: watch.Modified}
	for name, c := range map[string]struct {
		do                  func(*ledger)
		requests, missed, n int
		open                int // accounts left open besides those of missed events
	}{
		"answer, then event":    {func(l *ledger) { l.sent(made); l.acked(made); l.seen(made) }, 1, 0, 1, 0},
		"event, then answer":    {func(l *ledger) { l.sent(made); l.seen(made); l.acked(made) }, 1, 0, 1, 0},
		"no event":              {func(l *ledger) { l.sent(made); l.acked(made) }, 1, 1, 0, 0},
		"another write's event": {func(l *ledger) { l.sent(made); l.acked(made); l.seen(changed) }, 1, 1, 0, 0},
		"unknown, no event":     {func(l *ledger) { l.sent(made); l.unknown(made) }, 0, 0, 0, 0},
		"event, then unknown":   {func(l *ledger) { l.sent(made); l.seen(made); l.unknown(made) }, 0, 0, 0, 0},
		"unknown, then event":   {func(l *ledger) { l.sent(made); l.unknown(made); l.seen(made) }, 0, 0, 0, 0},
		"the same event twice":  {func(l *ledger) { l.sent(made); l.seen(made); l.seen(made); l.acked(made) }, 1, 0, 1, 0},
		"never answered":        {func(l *ledger) { l.sent(made) }, 0, 0, 0, 1},
		"one came and one did not": {func(l *ledger) {
			l.sent(made)
			l.sent(changed)
			l.acked(changed)
			l.acked(made)
			l.seen(changed)
		}, 2, 1, 1, 0},
	} {
		s := newSeries(Watch, time.Second, nil)
		l := newLedger(s)
		l.sent(event{name: "before the watch", kind: watch.Added})
		l.acked(event{name: "before the watch", kind: watch.Added})
		l.watchFromNow()
		c.do(l)
		select {
		case <-l.whenSettled():
			if c.missed > 0 {
				t.Errorf("%s: nothing is owed", name)
			}
		default:
			if c.missed == 0 {
				t.Errorf("%s: an event is owed", name)
			}
		}
		if got := len(l.open); got != c.missed+c.open {
			t.Errorf("%s: %d accounts are open, want %d", name, got, c.missed+c.open)
		}
		l.writeOff()
		if s.run.requests != c.requests || s.run.missed != c.missed || len(s.run.samples) != c.n {
			t.Errorf("%s: requests %d, missed %d, latencies %d, want %d, %d, %d", name,
				s.run.requests, s.run.missed, len(s.run.samples), c.requests, c.missed, c.n)
		}
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer(t, newFakeStore())
		cfg := testConfig(f)
		cfg.Namespace = "elsewhere"
		f.store.namespaces["elsewhere"] = namespace("elsewhere", false, false)
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is not the probe's") {
			t.Errorf("a namespace of somebody else: %v", err)
		}
		f.store.namespaces["elsewhere"] = namespace("elsewhere", true, true)
		p := start(t, cfg)
		if p.target.namespace != "elsewhere-2" {
			t.Errorf("namespace is %s, want the next after one that is terminating", p.target.namespace)
		}
		p.Stop()
		f.store.namespaces["elsewhere"] = namespace("elsewhere", true, false)
		p = start(t, cfg)
		if p.target.namespace != "elsewhere" {
			t.Errorf("namespace is %s, want the one left over by another run", p.target.namespace)
		}
		f.status.Store(http.StatusServiceUnavailable)
		if r := p.Stop(); !strings.Contains(r.Leftover, "deleting the probe's namespace elsewhere") {
			t.Errorf("left over: %q", r.Leftover)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer(t, newFakeStore())
		good := testConfig(f)
		path := good.Paths[0]
		for want, change := range map[string]func(*Config){
			"at least one path":          func(c *Config) { c.Paths = nil },
			"a bearer token or a client": func(c *Config) { c.Token = nil },
			"rate must be above 0":       func(c *Config) { c.Rate = -1 },
			"no certificate in PEM form": func(c *Config) { c.CA = []byte("nonsense") },
			"must be https://host:port":  func(c *Config) { c.Paths = []Path{{Name: "x", URL: "http://127.0.0.1:1"}} },
			"a path needs a name":        func(c *Config) { c.Paths = []Path{{URL: fakeURL}} },
			"given twice":                func(c *Config) { c.Paths = []Path{path, path} },
			"creating namespace":         func(c *Config) { c.Token = func() (string, error) { return "wrong", nil } },
		} {
			cfg := good
			change(&cfg)
			p, err := Start(t.Context(), cfg)
			if err == nil {
				p.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want it to say %q", err, want)
			}
		}
		p := start(t, good)
		if err := p.AddPath(path); err == nil {
			t.Error("the same path was added twice")
		}
		p.Stop()
		path.Name = "load-balancer"
		if err := p.AddPath(path); err == nil {
			t.Error("a path was added after the end")
		}
		if _, err := Start(context.Background(), Config{}); err == nil {
			t.Error("an empty configuration was accepted")
		}
	})
}
