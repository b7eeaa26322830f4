package probe

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	testRate     = 100.0
	testInterval = 10 * time.Millisecond
	testTimeout  = 300 * time.Millisecond
)

func testConfig(f *fakeServer, paths ...Path) Config {
	if paths == nil {
		paths = []Path{{Name: "old-address", From: "operator", URL: f.url()}}
	}
	return Config{
		Paths: paths, CA: f.ca, Rate: testRate, Timeout: testTimeout, EventWait: 400 * time.Millisecond,
		Token: func() (string, error) { return fakeToken, nil },
	}
}

func discard() hclog.Logger { return hclog.NewNullLogger() }

func start(t *testing.T, cfg Config) *Probe {
	t.Helper()
	p, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

// warm waits until all kinds of all paths work.
func warm(t *testing.T, p *Probe) {
	t.Helper()
	for _, pp := range p.probes() {
		for _, s := range pp.series {
			eventually(t, string(s.kind), func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.run.samples)+len(s.quiet.samples) > 3
			})
		}
	}
}

// kind finds a kind in a result, of the first path that has it.
func kind(t *testing.T, r Result, want Kind) KindResult {
	t.Helper()
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			if k.Kind == want {
				return k
			}
		}
	}
	t.Fatalf("no %s in %+v", want, r)
	return KindResult{}
}

var requestKinds = []Kind{NewConnectionRead, KeptRead, KeptWrite}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if got < want-tolerance || got > want+tolerance {
		t.Errorf("%s = %v, want %v ± %v", what, got, want, tolerance)
	}
}

// noFailure asserts that neither a request failed nor an event was missed.
func noFailure(t *testing.T, r Result) {
	t.Helper()
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			if k.Failures != 0 {
				t.Errorf("%s from %s: %s: %d failures: %v", p.Name, k.From, k.Kind, k.Failures, k.Reasons)
			}
		}
	}
}

func TestHealthyServer(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	var dialled atomic.Int64
	p := start(t, testConfig(f,
		Path{Name: "old-address", From: "operator", URL: f.url()},
		Path{Name: "service", From: "w1", URL: f.url(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}},
	))
	warm(t, p)
	p.Quiet()
	time.Sleep(time.Second)
	if live := p.Snapshot(); live.Failures() != 0 || live.DownFor() != 0 || len(live.Paths) != 2 || live.Paths[0].Requests == 0 {
		t.Errorf("snapshot: %+v", live)
	}
	if err := p.AddPath(Path{Name: "service", From: "cp1", URL: f.url()}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	r := p.Stop()
	noFailure(t, r)
	if len(r.Paths) != 2 || len(r.Paths[0].Kinds) != 4 || len(r.Paths[1].Kinds) != 8 {
		t.Fatalf("paths and kinds: %+v", r)
	}
	for _, name := range requestKinds {
		k := kind(t, r, name)
		within(t, string(name)+" requests", float64(k.Requests), 1.2*testRate, 20)
		if k.QuietRequests == 0 || k.QuietP99Ms == nil || k.P50Ms <= 0 || k.P99Ms < k.P50Ms || k.MaxMs < k.P99Ms {
			t.Errorf("%s: quiet figures or latencies: %+v", name, k)
		}
		if name == NewConnectionRead {
			within(t, "connections", float64(k.Connections), float64(k.Requests), 3)
		} else if k.Connections != 0 {
			t.Errorf("%s: %d connections, want only those opened before", name, k.Connections)
		}
	}
	events := kind(t, r, Watch)
	within(t, "events", float64(*events.Events), float64(kind(t, r, KeptWrite).Requests), 2)
	if late := r.Paths[1].Kinds[4]; late.From != "cp1" || late.Requests == 0 || late.QuietP99Ms != nil {
		t.Errorf("a path added after the quiet part: %+v", late)
	}
	if fresh := r.Paths[1].Kinds[0]; dialled.Load() < int64(fresh.Requests) {
		t.Errorf("%d connections for %d new connection reads", dialled.Load(), fresh.Requests)
	}
	if left := f.store.namespaceNames(); len(left) != 0 || r.Leftover != "" {
		t.Errorf("left over: %v %s", left, r.Leftover)
	}
}

// TestEveryRequestIsCounted compares the figures with what a server saw.
func TestEveryRequestIsCounted(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	time.Sleep(300 * time.Millisecond)
	r := p.Stop()
	const setUp = 1 // the ConfigMap to read
	if got, want := int(f.requests.Load())-setUp, r.Requests()-*kind(t, r, Watch).Events; got != want {
		t.Errorf("the server saw %d requests, the probe counts %d", got, want)
	}
}

func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	const away = 1200 * time.Millisecond
	f.down()
	time.Sleep(away - 200*time.Millisecond)
	if live := p.Snapshot(); !live.Paths[0].Down() || live.DownFor() < away/2 || live.Failures() == 0 ||
		!strings.Contains(live.Paths[0].LastError, "refused") {
		t.Errorf("snapshot of an outage: %+v", live)
	}
	time.Sleep(200 * time.Millisecond)
	f.up()
	time.Sleep(300 * time.Millisecond)
	if live := p.Snapshot(); live.Paths[0].Down() {
		t.Errorf("snapshot after an outage: %+v", live)
	}
	r := p.Stop()
	for _, name := range requestKinds {
		k := kind(t, r, name)
		within(t, string(name)+" gap", k.LongestGapSeconds, away.Seconds(), 0.15)
		within(t, string(name)+" failures", float64(k.Failures), away.Seconds()*testRate, 15)
		within(t, string(name)+" refused", float64(k.Reasons["connecting: connection refused"]), float64(k.Failures), 3)
	}
	within(t, "gap of the path", r.Paths[0].LongestGapSeconds, away.Seconds(), 0.15)
	k := kind(t, r, Watch)
	within(t, "watch gap", k.LongestGapSeconds, away.Seconds(), 0.15)
	if *k.MissedEvents != 0 || *k.Rewatches < 1 || k.Failures == 0 {
		t.Errorf("watch: %+v, missed %d", k, *k.MissedEvents)
	}
}

func TestErrorStatusIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for status, reasons := range map[int32][2]string{
		500: {"readyz status 500: etcd", "status 500"},
		429: {"readyz status 429: etcd", "status 429"},
	} {
		f := newFakeServer(t, newFakeStore())
		p := start(t, testConfig(f))
		warm(t, p)
		before := f.requests.Load()
		failed := p.Snapshot().Paths[0].Failures
		f.status.Store(status)
		time.Sleep(500 * time.Millisecond)
		seen := f.requests.Load() - before
		f.status.Store(0)
		time.Sleep(50 * time.Millisecond)
		r := p.Stop()
		for _, name := range requestKinds {
			k := kind(t, r, name)
			within(t, string(name), float64(k.Failures), 0.5*testRate, 12)
			for reason := range k.Reasons {
				if reason != reasons[0] && reason != reasons[1] {
					t.Errorf("status %d: %s: reason %q", status, name, reason)
				}
			}
		}
		// The watch goes on undisturbed: it was answered before.
		within(t, "requests seen by the server", float64(seen), float64(r.Failures()-failed), 5)
		if missed := r.MissedEvents(); missed != 0 {
			t.Errorf("status %d: %d missed events", status, missed)
		}
	}
}

func TestHangingServer(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	f.hang.Store(true)
	time.Sleep(800 * time.Millisecond)
	f.hang.Store(false)
	time.Sleep(100 * time.Millisecond)
	r := p.Stop()
	for _, name := range requestKinds {
		k := kind(t, r, name)
		if got := k.Reasons["waiting for the answer: no answer within 300ms"]; got != k.Failures {
			t.Errorf("%s: %d failures, reasons %v", name, k.Failures, k.Reasons)
		}
		within(t, string(name)+" failures", float64(k.Failures), 0.8*testRate, 12)
		within(t, string(name)+" gap", k.LongestGapSeconds, 0.8, 0.15)
	}
	if missed := r.MissedEvents(); missed != 0 {
		t.Errorf("%d missed events", missed)
	}
}

func TestWrongAnswer(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	f.wrongUID.Store(true)
	time.Sleep(200 * time.Millisecond)
	r := p.Stop()
	const want = "the answer is not the probe's ConfigMap"
	if got := kind(t, r, KeptRead).Reasons[want]; got < 10 {
		t.Errorf("kept read: %d times %q", got, want)
	}
	if got := kind(t, r, NewConnectionRead).Reasons[want]; got < 5 {
		t.Errorf("new connection read: %d times %q", got, want)
	}
}

// TestHandover is what an overlapped restart should look like: new
// connections reach a second server, then the first one drains.
func TestHandover(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	first, second := newFakeServer(t, store), newFakeServer(t, store)
	second.cert = first.cert
	second.down()
	second.up()
	var to atomic.Pointer[fakeServer]
	to.Store(first)
	cfg := testConfig(first, Path{Name: "old-address", From: "operator", URL: first.url(),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, to.Load().addr)
		}})
	p := start(t, cfg)
	warm(t, p)
	p.Quiet()
	to.Store(second)
	first.drain()
	time.Sleep(300 * time.Millisecond)
	r := p.Stop()
	noFailure(t, r)
	for _, name := range []Kind{KeptRead, KeptWrite, Watch} {
		if k := kind(t, r, name); k.Connections < 1 || k.Connections > 2 {
			t.Errorf("%s: %d connections to the second server, want 1", name, k.Connections)
		}
	}
	if second.requests.Load() == 0 {
		t.Error("the second server saw no request")
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, testConfig(f))
	if err != nil {
		t.Fatal(err)
	}
	warm(t, p)
	f.hang.Store(true)
	time.Sleep(testTimeout / 3)
	cancel()
	f.hang.Store(false)
	r := p.Stop()
	noFailure(t, r)
	if left := f.store.namespaceNames(); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestContract pins the names that other programs read.
func TestContract(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	warm(t, p)
	text, err := json.Marshal(p.Stop())
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	has := func(where string, object any, keys string) map[string]any {
		m, ok := object.(map[string]any)
		for key := range strings.FieldsSeq(keys) {
			if _, there := m[key]; !ok || !there {
				t.Errorf("%s has no %q: %s", where, key, text)
			}
		}
		return m
	}
	has("result", top, "intervalMs paths")
	path := has("path", top["paths"].([]any)[0], "name requests failures longestGapSeconds p50Ms p99Ms kinds")
	kinds := path["kinds"].([]any)
	for i, want := range []string{"new connection read", "kept read", "kept write", "watch"} {
		k := has("kind", kinds[i], "kind from requests failures reasons maxMs quietP99Ms p50Ms p99Ms longestGapSeconds")
		if k["kind"] != want {
			t.Errorf("kind %d is %v, want %s", i, k["kind"], want)
		}
	}
	has("watch", kinds[3], "missedEvents")
	if top["intervalMs"] != 10.0 {
		t.Errorf("intervalMs is %v", top["intervalMs"])
	}
}
