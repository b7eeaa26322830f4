package measure

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/nodeprobe"
	"hamigrate/migrate/probe"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
)

// barelyAPI lets a probe make its namespace and the object to read, and
// answers nothing else well.
type barelyAPI struct {
	server            *httptest.Server
	requests, deleted atomic.Int64
}

func newBarelyAPI(t *testing.T) *barelyAPI {
	t.Helper()
	f := &barelyAPI{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("POST /api/v1/namespaces/{ns}/configmaps", func(w http.ResponseWriter, r *http.Request) {
		cm := &corev1.ConfigMap{}
		json.NewDecoder(r.Body).Decode(cm)
		cm.UID, cm.Kind, cm.APIVersion = "1", "ConfigMap", "v1"
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(cm)
	})
	mux.HandleFunc("DELETE /api/v1/namespaces/{ns}", func(http.ResponseWriter, *http.Request) { f.deleted.Add(1) })
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		mux.ServeHTTP(w, r)
	}))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.StartTLS()
	t.Cleanup(func() { f.server.Config.Close() })
	return f
}

// newMeasurement is one under way, without pods on nodes. What it tells is in
// the second result.
func newMeasurement(t *testing.T, api *barelyAPI) (*measurement, func() string) {
	t.Helper()
	j, err := state.Open(filepath.Join(t.TempDir(), "j"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	spec := cluster.Spec{Endpoint: cluster.Endpoint{Host: "127.0.0.1", Port: api.server.Listener.Addr().(*net.TCPAddr).Port}, Workers: []cluster.Host{{Name: "w1"}}}
	spec.ControlPlane.First.Name = "cp1"
	var mu sync.Mutex
	var said []string
	tell := func(line string) { mu.Lock(); defer mu.Unlock(); said = append(said, line) }
	probing, cut := context.WithCancel(context.Background())
	t.Cleanup(cut)
	p, err := probe.Start(probing, probe.Config{
		Paths: []probe.Path{{Name: "old-address", From: "operator", URL: api.server.URL}},
		CA:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.server.Certificate().Raw}),
		Token: func() (string, error) { return "not-a-secret", nil }, Rate: 50, Timeout: time.Second, EventWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &measurement{
		How: How{Tell: tell}, j: j, gate: newGate(0), key: runrecord.OperatorKey + "1", probe: p, cut: cut,
		s: &run.Session{Log: hclog.NewNullLogger(), Access: phases.NewAccess(spec, nil)}, nodes: &nodeprobe.Probes{},
		saved: runrecord.Measurements{Records: map[string]probe.Record{}}, stopWork: func() {},
	}
	return m, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(said, "\n") }
}

// kept is how many requests of the journal's records were made.
func kept(t *testing.T, m *measurement) int {
	t.Helper()
	var ms runrecord.Measurements
	if _, err := m.j.GetBlob(runrecord.MeasurementsBlob, &ms); err != nil {
		t.Fatal(err)
	}
	r := ms.Result()
	if r == nil {
		return 0
	}
	return r.Requests()
}

// sent waits until so many requests more have been sent.
func (f *barelyAPI) sent(t *testing.T, more int64) {
	t.Helper()
	from := f.requests.Load()
	for end := time.Now().Add(15 * time.Second); f.requests.Load() < from+more; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is sent")
		}
	}
}

// silent wants half a second without a request, before long: what was on its
// way at the end may arrive late on a busy machine, and who goes on sending is
// never silent for so long.
func (f *barelyAPI) silent(t *testing.T) {
	t.Helper()
	last, since := f.requests.Load(), time.Now()
	for end := time.Now().Add(10 * time.Second); time.Since(since) < 500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if now := f.requests.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("requests are sent after the end")
		}
	}
}

func TestMeasurementEnds(t *testing.T) {
	t.Parallel()
	api := newBarelyAPI(t)
	m, _ := newMeasurement(t, api)
	api.sent(t, 20)
	if err := m.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := api.deleted.Load(); n != 1 {
		t.Errorf("its namespace was deleted %d times", n)
	}
	if n := kept(t, m); n < 10 {
		t.Errorf("the journal has %d requests", n)
	}
}

// TestMeasurementInterrupted: after Ctrl-C twice the figures are kept, and
// nothing is sent or waited for any more.
func TestMeasurementInterrupted(t *testing.T) {
	t.Parallel()
	api := newBarelyAPI(t)
	m, said := newMeasurement(t, api)
	api.sent(t, 20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := m.end(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second || api.deleted.Load() != 0 {
		t.Errorf("took %s, %d namespaces deleted", took, api.deleted.Load())
	}
	if n := kept(t, m); n < 10 {
		t.Errorf("the journal has %d requests", n)
	}
	if text := said(); text != "" {
		t.Errorf("of pods that there are not: %q", text)
	}
	api.silent(t)
}

// TestMeasurementLeavesPods says so.
func TestMeasurementLeavesPods(t *testing.T) {
	t.Parallel()
	api := newBarelyAPI(t)
	m, said := newMeasurement(t, api)
	m.places = []string{"cp1", "w1"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.giveUp(ctx); err != nil {
		t.Fatal(err)
	}
	if text := said(); !strings.Contains(text, "cp1 and w1") || !strings.Contains(text, "migrate run") {
		t.Errorf("said: %q", text)
	}
}

// TestLoadBalancerPath is probed from the step on that makes it, once.
func TestLoadBalancerPath(t *testing.T) {
	t.Parallel()
	const lb = "loadbalancer/nginx-stream"
	for name, tt := range map[string]struct {
		events []migrate.Event
		want   bool
	}{
		"before":          {[]migrate.Event{{Kind: migrate.EventStepStarted, Phase: 1, Step: lb}, {Kind: migrate.EventStepDone, Phase: 1, Step: "loadbalancer/other"}}, false},
		"failed":          {[]migrate.Event{{Kind: migrate.EventStepFailed, Phase: 1, Step: lb}}, false},
		"done":            {[]migrate.Event{{Kind: migrate.EventStepDone, Phase: 1, Step: lb}, {Kind: migrate.EventStepDone, Phase: 1, Step: lb}}, true},
		"there already":   {[]migrate.Event{{Kind: migrate.EventStepSatisfied, Phase: 1, Step: lb}}, true},
		"a phase further": {[]migrate.Event{{Kind: migrate.EventPhaseStarted, Phase: 2}, {Kind: migrate.EventStepDone, Phase: 2, Step: "etcd/a"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, said := newMeasurement(t, newBarelyAPI(t))
			for _, e := range tt.events {
				m.Event(e)
			}
			paths := m.probe.Snapshot().Paths
			got := slices.ContainsFunc(paths, func(p probe.LivePath) bool { return p.Name == "load-balancer" && p.From == "operator" })
			if got != tt.want || said() != "" {
				t.Errorf("probed: %t, want %t; said %q", got, tt.want, said())
			}
		})
	}
}

// TestFromHere: where this machine does not reach an address, a worker does.
func TestFromHere(t *testing.T) {
	t.Parallel()
	m, said := newMeasurement(t, newBarelyAPI(t))
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	v := m.s.Access.Reader(migrate.ClusterTarget)
	for _, address := range []string{v.EndpointAddress(), refusing.Addr().String()} {
		if p := m.fromHere(t.Context(), v, "x", address); p.From != "operator" || p.Dial != nil || p.URL != "https://"+address {
			t.Errorf("%s, which is reached: %+v", address, p)
		}
	}
	if said() != "" {
		t.Errorf("said: %q", said())
	}
	const nowhere = "127.0.0.1:99999"
	if p := m.fromHere(t.Context(), v, "x", nowhere); p.From != "w1 (host network)" || p.Dial == nil {
		t.Errorf("%+v", p)
	}
	if text := said(); !strings.Contains(text, nowhere) || !strings.Contains(text, "w1") {
		t.Errorf("said: %q", text)
	}
}
