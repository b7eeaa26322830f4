package probe

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func testConfig(f *fakeServer, paths ...Path) Config {
	if paths == nil {
		paths = []Path{f.path("old-address", "operator")}
	}
	return Config{
		Paths: paths, CA: f.ca,
		Token: func() (string, error) { return fakeToken, nil },
	}
}

func start(t *testing.T, cfg Config) *Probe {
	t.Helper()
	p, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

// settled is a time after the start at which no request of a first or second
// path is under way: those of a path are due 0, 30.9 and 11.8 ms after it and
// every 50 ms from then, and take 3 ms.
const settled = time.Second + 20*time.Millisecond

// measure runs a probe of one path on a fake server for a second, then the
// fault, then for another second.
func measure(t *testing.T, fault func(*testing.T, *fakeServer, *Probe)) (*fakeServer, Result) {
	t.Helper()
	f := newFakeServer(t, newFakeStore())
	p := start(t, testConfig(f))
	time.Sleep(settled)
	fault(t, f, p)
	time.Sleep(time.Second)
	return f, p.Stop()
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

// noFailure asserts that neither a request failed nor an event was missed.
func noFailure(t *testing.T, r Result) {
	t.Helper()
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			if k.Failures != 0 || k.QuietFailures != 0 || k.Skipped != 0 {
				t.Errorf("%s from %s: %s: %d failures, %d in quiet, %d skipped: %v",
					p.Name, k.From, k.Kind, k.Failures, k.QuietFailures, k.Skipped, k.Reasons)
			}
		}
	}
}

// TestHealthyServer: without a fault every figure is known exactly.
//
// Long: all figures are those of one measurement.
func TestHealthyServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer(t, newFakeStore())
		var dialled atomic.Int64
		service := f.path("service", "w1")
		service.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			return f.dial(ctx, network, address)
		}
		p := start(t, testConfig(f, f.path("old-address", "operator"), service))
		time.Sleep(settled)
		p.Quiet()
		p.Quiet() // only the first counts
		time.Sleep(5 * time.Second)
		live := p.Snapshot()
		if live.Failures() != 0 || live.DownFor() != 0 || len(live.Paths) != 2 || live.Paths[0].Requests < 4*95 {
			t.Errorf("snapshot: %+v", live)
		}
		if err := p.AddPath(f.path("service", "cp1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		r := p.Stop()
		noFailure(t, r)
		if len(r.Paths) != 2 || len(r.Paths[0].Kinds) != 4 || len(r.Paths[1].Kinds) != 8 {
			t.Fatalf("paths and kinds: %+v", r)
		}
		if r.Paths[0].P50Ms != 3 || r.Paths[0].P99Ms != 3 || r.Paths[0].LongestGapSeconds != 0 || r.LongestGap() != 0 {
			t.Errorf("figures of the path: %+v", r.Paths[0])
		}
		for i, name := range requestKinds {
			k := r.Paths[0].Kinds[i]
			if k.Kind != name || k.Requests != 200 || k.QuietRequests < 20 || k.QuietRequests > 21 {
				t.Errorf("%s: %d requests and %d in quiet, want %s, 200 and 20 or 21", k.Kind, k.Requests, k.QuietRequests, name)
			}
			if k.P50Ms != 3 || k.P99Ms != 3 || k.MaxMs != 3 || *k.QuietP50Ms != 3 || *k.QuietP99Ms != 3 {
				t.Errorf("%s: latencies: %+v", name, k)
			}
		}
		if k := r.Paths[0].Kinds[0]; k.Connections != k.Requests {
			t.Errorf("%d connections for %d new connection reads", k.Connections, k.Requests)
		}
		for _, k := range r.Paths[0].Kinds[1:] {
			if k.Connections != 0 {
				t.Errorf("%s: %d connections, want only those opened in quiet", k.Kind, k.Connections)
			}
		}
		if k := r.Paths[0].Kinds[3]; *k.Events != 200 || *k.Rewatches != 0 || k.MaxMs != 3 {
			t.Errorf("watch: %d events, %+v", *k.Events, k)
		}
		late := r.Paths[1].Kinds[4]
		if late.From != "cp1" || late.Requests != 100 || late.QuietP99Ms != nil || late.QuietRequests != 0 {
			t.Errorf("a path added after the quiet part: %+v", late)
		}
		fresh := r.Paths[1].Kinds[0]
		if got, want := dialled.Load(), int64(fresh.Requests+fresh.QuietRequests); got < want || got > want+6 {
			t.Errorf("the path's own Dial was called %d times, want %d and a few for kept connections", got, want)
		}
		if left := f.store.namespaceNames(); len(left) != 0 || r.Leftover != "" {
			t.Errorf("left over: %v %s", left, r.Leftover)
		}
		if again := p.Stop(); again.Requests() != r.Requests() {
			t.Error("a second Stop returned other figures")
		}
	})
}

// TestEveryRequestIsCounted compares the figures with what a server saw.
func TestEveryRequestIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, r := measure(t, func(*testing.T, *fakeServer, *Probe) {})
		const setUp = 1 // the ConfigMap to read
		if got, want := int(f.requests.Load())-setUp, r.Requests()-*kind(t, r, Watch).Events; got != want {
			t.Errorf("the server saw %d requests, the probe counts %d", got, want)
		}
	})
}

func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(t *testing.T, f *fakeServer, p *Probe) {
			f.down()
			time.Sleep(time.Second)
			if live := p.Snapshot(); !live.Paths[0].Down() || live.DownFor() < 950*time.Millisecond || live.Failures() < 60 ||
				!strings.Contains(live.Paths[0].LastError, "refused") {
				t.Errorf("snapshot of an outage: %+v", live)
			}
			time.Sleep(200 * time.Millisecond)
			f.up()
			time.Sleep(100 * time.Millisecond)
			if live := p.Snapshot(); live.Paths[0].Down() || live.DownFor() != 0 {
				t.Errorf("snapshot after an outage: %+v", live)
			}
		})
		for _, name := range requestKinds {
			k := kind(t, r, name)
			if k.LongestGapSeconds != 1.2 || k.Failures != 24 || k.Reasons["connecting: connection refused"] != 24 {
				t.Errorf("%s: gap %v, %d failures: %v; want 1.2, 24 refused", name, k.LongestGapSeconds, k.Failures, k.Reasons)
			}
		}
		if r.Paths[0].LongestGapSeconds != 1.2 || r.LongestGap() != 1200*time.Millisecond {
			t.Errorf("gap of the path: %v", r.Paths[0].LongestGapSeconds)
		}
		k := kind(t, r, Watch)
		if k.LongestGapSeconds < 1.2 || k.LongestGapSeconds > 1.26 || *k.MissedEvents != 0 || *k.Rewatches < 24 || k.Failures < 23 {
			t.Errorf("watch: %+v, missed %d, started again %d times", k, *k.MissedEvents, *k.Rewatches)
		}
	})
}

func TestErrorStatusIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for status, want := range map[int32][]string{
		500: {"readyz status 500: etcd", "status 500"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var seen int64
			_, r := measure(t, func(t *testing.T, f *fakeServer, p *Probe) {
				seen = f.requests.Load()
				f.status.Store(status)
				time.Sleep(2 * time.Second)
				f.status.Store(0)
				seen = f.requests.Load() - seen
			})
			for _, name := range requestKinds {
				k := kind(t, r, name)
				if k.Failures != 40 {
					t.Errorf("status %d: %s: %d failures, want 40", status, name, k.Failures)
				}
				for reason := range k.Reasons {
					if !slices.Contains(want, reason) {
						t.Errorf("status %d: %s: reason %q", status, name, reason)
					}
				}
			}
			// The watch goes on undisturbed: it was answered before.
			if seen != 3*40 || r.Failures() != 3*40 || r.MissedEvents() != 0 {
				t.Errorf("status %d: the server saw %d requests, %d failures; want 120 of both", status, seen, r.Failures())
			}
		})
	}
}

// TestTryAgainIsFollowed: with Retry-After, client-go makes a request again
// for every caller. That is counted, and no failure where it succeeds in time;
// a client that makes a connection for each request has no such help.
func TestTryAgainIsFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int32{429, 503} {
		synctest.Test(t, func(t *testing.T) {
			_, r := measure(t, func(t *testing.T, f *fakeServer, _ *Probe) {
				f.status.Store(status)
				time.Sleep(2 * time.Second)
				f.status.Store(0)
			})
			for name, want := range map[Kind][2]int{NewConnectionRead: {40, 0}, KeptRead: {20, 40}, KeptWrite: {20, 40}} {
				k := kind(t, r, name)
				if k.Failures != want[0] || k.Retries != want[1] || k.Replays != 0 {
					t.Errorf("status %d: %s: %d failures, %d retries, %d replays; want %v: %v", status, name, k.Failures, k.Retries, k.Replays, want, k.Reasons)
				}
				for reason := range k.Reasons {
					if !strings.Contains(reason, fmt.Sprintf("status %d", status)) {
						t.Errorf("status %d: %s: reason %q", status, name, reason)
					}
				}
			}
			if r.Retries() != 80 || r.MissedEvents() != 0 {
				t.Errorf("status %d: %d retries, %d missed events", status, r.Retries(), r.MissedEvents())
			}
		})
	}
}

func TestHangingServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(t *testing.T, f *fakeServer, _ *Probe) {
			f.hang.Store(true)
			time.Sleep(3 * time.Second)
			f.hang.Store(false)
		})
		for _, name := range requestKinds {
			k := kind(t, r, name)
			if k.LongestGapSeconds != 3 || k.Failures != 60 || k.Reasons["waiting for the answer: no answer within 2s"] != 60 {
				t.Errorf("%s: gap %v, %d failures: %v; want 3, 60 without an answer", name, k.LongestGapSeconds, k.Failures, k.Reasons)
			}
			checkFailed(t, k)
		}
		if missed := r.MissedEvents(); missed != 0 {
			t.Errorf("%d missed events", missed)
		}
	})
}

// checkFailed wants the first failures told one by one, with the connection
// they were sent on: a kept one is old, a new one is not.
func checkFailed(t *testing.T, k KindResult) {
	t.Helper()
	if len(k.Failed) != maxFailures {
		t.Fatalf("%s: %d failures are told one by one, not %d", k.Kind, len(k.Failed), maxFailures)
	}
	first, last := k.Failed[0], k.Failed[maxFailures-1]
	if between := last.At.Sub(first.At); between != (maxFailures-1)*50*time.Millisecond || first.Seconds != 2 {
		t.Errorf("%s: %d failures in %v, known after %v s", k.Kind, maxFailures, between, first.Seconds)
	}
	if isNew := strings.HasSuffix(first.Connection, ", 0.0 s old"); isNew != (k.Kind == NewConnectionRead) || !strings.Contains(first.Connection, " s old") {
		t.Errorf("%s: on connection %q", k.Kind, first.Connection)
	}
}

// TestOutageUntilTheEnd counts a gap that no success ends.
func TestOutageUntilTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(t *testing.T, f *fakeServer, _ *Probe) { f.down() })
		for _, name := range requestKinds {
			if k := kind(t, r, name); k.LongestGapSeconds != 1 || k.Failures != 20 {
				t.Errorf("%s: gap %v, %d failures, want 1, 20", name, k.LongestGapSeconds, k.Failures)
			}
		}
		if k := kind(t, r, Watch); k.LongestGapSeconds < 1 {
			t.Errorf("watch: gap %v", k.LongestGapSeconds)
		}
		if !strings.Contains(r.Leftover, "deleting the probe's namespace migrate-probe") {
			t.Errorf("left over: %q", r.Leftover)
		}
	})
}

func TestWrongAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(_ *testing.T, f *fakeServer, _ *Probe) { f.wrongUID.Store(true) })
		const want = "the answer is not the probe's ConfigMap"
		if got := kind(t, r, KeptRead).Reasons[want]; got != 20 {
			t.Errorf("kept read: %d times %q, want 20", got, want)
		}
		if got := kind(t, r, NewConnectionRead).Reasons[want]; got != 10 {
			t.Errorf("new connection read: %d times %q, want 10", got, want)
		}
	})
}

// TestHandover is what an overlapped restart should look like: new
// connections reach a second server, then the first one drains.
func TestHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newFakeServer(t, newFakeStore())
		second := first.twin()
		var to atomic.Pointer[fakeServer]
		to.Store(first)
		path := first.path("old-address", "operator")
		path.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return to.Load().dial(ctx, network, address)
		}
		p := start(t, testConfig(first, path))
		time.Sleep(settled)
		p.Quiet()
		to.Store(second)
		first.drain()
		time.Sleep(time.Second)
		r := p.Stop()
		noFailure(t, r)
		for _, name := range []Kind{KeptRead, KeptWrite, Watch} {
			if k := kind(t, r, name); k.Connections != 1 {
				t.Errorf("%s: %d connections to the second server, want 1", name, k.Connections)
			}
		}
	})
}

// TestContextEnds: what our own stopping cuts short is no failure.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer(t, newFakeStore())
		ctx, cancel := context.WithCancel(t.Context())
		p, err := Start(ctx, testConfig(f))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(settled)
		f.hang.Store(true)
		f.store.deafen(1 << 20)
		time.Sleep(time.Second)
		cancel()
		f.hang.Store(false)
		began := time.Now()
		r := p.Stop()
		noFailure(t, r)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("stopping took %v", took)
		}
		if left := f.store.namespaceNames(); len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
	})
}

func discard() hclog.Logger { return hclog.NewNullLogger() }
