package probe

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestContract pins the names that other programs read.
func TestContract(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(*testing.T, *fakeServer, *Probe) {})
		text, err := json.Marshal(r)
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
		if top["intervalMs"] != 50.0 {
			t.Errorf("intervalMs is %v", top["intervalMs"])
		}
	})
}

// TestRealSockets is the one test over TCP, for what memory does not have. It
// says little of times, since these depend on what else the machine does.
func TestRealSockets(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, newFakeStore())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.serve(listener)
	cfg := testConfig(f, Path{Name: "old-address", From: "operator", URL: "https://" + listener.Addr().String()})
	cfg.Timeout = 30 * time.Second
	p := start(t, cfg)
	succeeded := func() bool {
		for _, s := range p.probes()[0].series {
			s.mu.Lock()
			n := len(s.run.samples)
			s.mu.Unlock()
			if n < 4 {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(30 * time.Second); !succeeded() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if live := p.Snapshot(); live.Failures() != 0 || !succeeded() {
		t.Fatalf("snapshot: %+v", live)
	}
	fresh := p.probes()[0].series[0]
	fresh.mu.Lock()
	if got, want := fresh.run.connections, len(fresh.run.samples); got < want {
		t.Errorf("%d connections for %d new connection reads", got, want)
	}
	fresh.mu.Unlock()
	f.down()
	for end := time.Now().Add(30 * time.Second); p.Snapshot().Failures() < 10 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	r := p.Stop()
	for _, name := range requestKinds {
		if k := kind(t, r, name); k.Reasons["connecting: connection refused"] == 0 {
			t.Errorf("%s: reasons %v, want refused connections among them", name, k.Reasons)
		}
	}
}
