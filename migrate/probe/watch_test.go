package probe

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// watched runs a fault in the middle of a measurement.
func watched(t *testing.T, fault func(*fakeServer)) (*fakeServer, Result) {
	t.Helper()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	fault(f)
	time.Sleep(300 * time.Millisecond)
	return f, p.Stop()
}

func TestDroppedEventIsMissed(t *testing.T) {
	t.Parallel()
	_, r := watched(t, func(f *fakeServer) {
		f.store.mu.Lock()
		defer f.store.mu.Unlock()
		f.store.drop = 2
	})
	k := kind(t, r, Watch)
	if *k.MissedEvents != 2 || k.Failures != 2 || r.MissedEvents() != 2 || r.Failures() != 2 {
		t.Errorf("missed %d, failures %d of %v, want 2", *k.MissedEvents, r.Failures(), k.Reasons)
	}
	for reason := range k.Reasons {
		if !strings.HasPrefix(reason, "event never arrived: ") {
			t.Errorf("reason %q", reason)
		}
	}
}

func TestCutWatchIsStartedAgain(t *testing.T) {
	t.Parallel()
	f, r := watched(t, func(f *fakeServer) {
		for range 3 {
			f.cutWatches()
			time.Sleep(60 * time.Millisecond)
		}
	})
	noFailure(t, r)
	k := kind(t, r, Watch)
	if *k.Rewatches != 3 || f.watchStart.Load() != 4 || k.LongestGapSeconds > 0.1 {
		t.Errorf("%d watches started again, %d in all, gap %v s", *k.Rewatches, f.watchStart.Load(), k.LongestGapSeconds)
	}
}

// TestTooOldVersion is an API server that was restarted: its watch cache
// begins after the last version seen. What was written in between is missed.
func TestTooOldVersion(t *testing.T) {
	t.Parallel()
	_, r := watched(t, func(f *fakeServer) {
		f.store.mu.Lock()
		f.store.drop = 1 << 20 // the watch is deaf …
		f.store.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		f.cutWatches() // … and its successor can't go on from where it was
		f.store.compact()
		f.store.mu.Lock()
		f.store.drop = 0
		f.store.mu.Unlock()
	})
	k := kind(t, r, Watch)
	within(t, "missed events", float64(*k.MissedEvents), 0.1*testRate, 4)
	if k.Failures != *k.MissedEvents+1 || k.Reasons["status 410"] != 1 {
		t.Errorf("%d failures: %v", k.Failures, k.Reasons)
	}
}

// TestRefusedWatchIsFailure: client-go returns an empty watch and no error
// when a watch request gets no answer; it is a failed request all the same.
func TestRefusedWatchIsFailure(t *testing.T) {
	t.Parallel()
	_, r := watched(t, func(f *fakeServer) {
		f.hangWatch.Store(true)
		f.cutWatches()
		time.Sleep(testTimeout + testTimeout/2)
		f.hangWatch.Store(false)
		time.Sleep(testTimeout)
	})
	k := kind(t, r, Watch)
	if got := k.Reasons["waiting for the answer: no answer within 300ms"]; got != 2 || k.Failures != 2 {
		t.Errorf("reasons %v, want two requests without an answer", k.Reasons)
	}
	within(t, "gap", k.LongestGapSeconds, 2*testTimeout.Seconds(), 0.1)
}

func TestLostReplyOwesNoEvent(t *testing.T) {
	t.Parallel()
	_, r := watched(t, func(f *fakeServer) { f.loseReply.Store(3) })
	k := kind(t, r, KeptWrite)
	if k.Failures != 3 || r.MissedEvents() != 0 || r.Failures() != 3 {
		t.Errorf("failures %d in all, of the writes %v", r.Failures(), k.Reasons)
	}
	if k.Replays != 0 {
		t.Errorf("%d writes were sent again", k.Replays)
	}
}

// TestDeadWatchAtTheEnd: events that a dead connection holds back come with
// the watch that Stop starts anew.
func TestDeadWatchAtTheEnd(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	f.deaf.Store(true)
	time.Sleep(100 * time.Millisecond)
	r := p.Stop()
	noFailure(t, r)
	k := kind(t, r, Watch)
	within(t, "slowest event (ms)", k.MaxMs, 300, 100)
	if *k.Rewatches != 1 {
		t.Errorf("%d watches started again, want 1", *k.Rewatches)
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	made := event{name: "a", kind: watch.Added}
	changed := event{name: "a", kind: watch.Modified}
	for name, c := range map[string]struct {
		do                  func(*ledger)
		requests, missed, n int
	}{
		"answer, then event":    {func(l *ledger) { l.sent(made); l.acked(made); l.seen(made) }, 1, 0, 1},
		"event, then answer":    {func(l *ledger) { l.sent(made); l.seen(made); l.acked(made) }, 1, 0, 1},
		"no event":              {func(l *ledger) { l.sent(made); l.acked(made) }, 1, 1, 0},
		"another write's event": {func(l *ledger) { l.sent(made); l.acked(made); l.seen(changed) }, 1, 1, 0},
		"unknown, no event":     {func(l *ledger) { l.sent(made); l.unknown(made) }, 0, 0, 0},
		"event, then unknown":   {func(l *ledger) { l.sent(made); l.seen(made); l.unknown(made) }, 0, 0, 0},
		"unknown, then event":   {func(l *ledger) { l.sent(made); l.unknown(made); l.seen(made) }, 0, 0, 0},
		"the same event twice":  {func(l *ledger) { l.sent(made); l.seen(made); l.seen(made); l.acked(made) }, 1, 0, 1},
		"never answered":        {func(l *ledger) { l.sent(made) }, 0, 0, 0},
		"one came and one did not": {func(l *ledger) {
			l.sent(made)
			l.sent(changed)
			l.acked(changed)
			l.acked(made)
			l.seen(changed)
		}, 2, 1, 1},
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
		l.writeOff()
		if s.run.requests != c.requests || s.run.missed != c.missed || len(s.run.samples) != c.n {
			t.Errorf("%s: requests %d, missed %d, latencies %d, want %d, %d, %d", name,
				s.run.requests, s.run.missed, len(s.run.samples), c.requests, c.missed, c.n)
		}
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
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
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	good := testConfig(f)
	path := good.Paths[0]
	for want, change := range map[string]func(*Config){
		"at least one path":           func(c *Config) { c.Paths = nil },
		"a bearer token or a client":  func(c *Config) { c.Token = nil },
		"rate must be above 0":        func(c *Config) { c.Rate = -1 },
		"no certificate in PEM form":  func(c *Config) { c.CA = []byte("nonsense") },
		"must be https://host:port":   func(c *Config) { c.Paths = []Path{{Name: "x", URL: "http://127.0.0.1:1"}} },
		"a path needs a name":         func(c *Config) { c.Paths = []Path{{URL: path.URL}} },
		"given twice":                 func(c *Config) { c.Paths = []Path{path, path} },
		"connect: connection refused": func(c *Config) { c.Paths = []Path{{Name: "x", URL: "https://127.0.0.1:1"}} },
		"creating namespace":          func(c *Config) { c.Token = func() (string, error) { return "wrong", nil } },
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
}
