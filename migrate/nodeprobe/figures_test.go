package nodeprobe

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hamigrate/migrate/probe"
)

// TestUnreachedNode: what one node has measured is not lost because another
// one can't be asked.
func TestUnreachedNode(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "cp1", "w1")
	p := c.start(c.config("r1", "cp1", "w1"))
	c.nodes["w1"].crash()
	for name, ask := range map[string]func(context.Context) (map[string]probe.Record, error){"record": p.Record, "stop": p.Stop} {
		records, err := ask(t.Context())
		if err == nil || !strings.Contains(err.Error(), "w1") {
			t.Errorf("%s: %v", name, err)
		}
		if keys := slices.Collect(maps.Keys(records)); len(keys) != 1 || !strings.HasPrefix(keys[0], "cp1/") {
			t.Errorf("%s: records %v", name, keys)
		}
	}
}

// scripted is an agent that says what the test wants.
type scripted struct {
	live    atomic.Pointer[probe.Live]
	refuses atomic.Bool
	hangs   atomic.Bool
}

func (s *scripted) serve(t *testing.T, n *node) {
	t.Helper()
	l, err := net.Listen("unix", n.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.hangs.Load():
			<-r.Context().Done()
		case s.refuses.Load():
			w.WriteHeader(http.StatusInternalServerError)
		default:
			json.NewEncoder(w).Encode(s.live.Load())
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// snapshots is an operator's side with one scripted agent a node.
func snapshots(t *testing.T, names ...string) (*Probes, map[string]*scripted) {
	t.Helper()
	p, agents := newProbes(Config{}, nil), map[string]*scripted{}
	for _, name := range names {
		n, s := newNode(t, name), &scripted{}
		s.serve(t, n)
		p.callers[name], agents[name] = newCaller(n), s
	}
	return p, agents
}

// TestSnapshotShiftsClocks: a node's clock is an hour ahead of ours.
func TestSnapshotShiftsClocks(t *testing.T) {
	t.Parallel()
	p, agents := snapshots(t, "w1")
	theirs := time.Now().Add(time.Hour)
	agents["w1"].live.Store(&probe.Live{At: theirs, Paths: []probe.LivePath{
		{Name: "service", From: "w1", Failures: 3, DownSince: theirs.Add(-10 * time.Second), LastErrorAt: theirs.Add(-2 * time.Second)},
		{Name: "service", From: "w1 again"},
	}})
	live := p.Snapshot(t.Context())
	if down := live.DownFor().Round(time.Second); down != 10*time.Second {
		t.Errorf("down for %s", down)
	}
	if ago := live.At.Sub(live.Paths[0].LastErrorAt).Round(time.Second); ago != 2*time.Second {
		t.Errorf("the last error was %s ago", ago)
	}
	if live.Paths[1].Down() || !live.Paths[1].LastErrorAt.IsZero() {
		t.Errorf("times out of nothing: %+v", live.Paths[1])
	}
	if since := time.Since(live.At); since < 0 || since > time.Minute {
		t.Errorf("taken %s ago", since)
	}
}

// TestSnapshotOfUnreachedNode: what was known stays, and does not get older:
// that a node can't be asked is no outage of the API.
func TestSnapshotOfUnreachedNode(t *testing.T) {
	t.Parallel()
	p, agents := snapshots(t, "cp1", "w1")
	at := time.Now()
	agents["cp1"].live.Store(&probe.Live{At: at, Paths: []probe.LivePath{{Name: "service", From: "cp1", Requests: 10, Failures: 1}}})
	agents["w1"].live.Store(&probe.Live{At: at, Paths: []probe.LivePath{{Name: "service", From: "w1", Requests: 10, Failures: 2, DownSince: at.Add(-3 * time.Second)}}})
	first := p.Snapshot(t.Context())
	if first.Failures() != 3 || len(first.Paths) != 2 {
		t.Fatalf("%+v", first)
	}
	agents["w1"].refuses.Store(true)
	agents["cp1"].live.Store(&probe.Live{At: at, Paths: []probe.LivePath{{Name: "service", From: "cp1", Requests: 20, Failures: 5}}})
	time.Sleep(100 * time.Millisecond)
	second := p.Snapshot(t.Context())
	if second.Failures() != 7 || len(second.Paths) != 2 {
		t.Errorf("%+v, want w1's figures as they were", second)
	}
	if down := second.DownFor().Round(time.Millisecond); down != 3*time.Second {
		t.Errorf("down for %s, had been for 3 s", down)
	}
}

// TestSnapshotDoesNotHang: a node that takes the connection and says nothing
// must not keep the gate from looking at the others.
func TestSnapshotDoesNotHang(t *testing.T) {
	t.Parallel()
	p, agents := snapshots(t, "cp1", "w1")
	agents["cp1"].live.Store(&probe.Live{At: time.Now(), Paths: []probe.LivePath{{Name: "service", From: "cp1", Failures: 1}}})
	agents["w1"].hangs.Store(true)
	began := time.Now()
	if live := p.Snapshot(t.Context()); live.Failures() != 1 {
		t.Errorf("%+v", live)
	}
	if took := time.Since(began); took > 2*liveTime {
		t.Errorf("took %s", took)
	}
}
