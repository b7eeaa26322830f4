package nodeprobe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/probe"
)

// running is an agent that serves.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

// serve starts an agent, which ends with the test at the latest.
func serve(t *testing.T, n *node, cfg AgentConfig) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	cfg.Socket = n.socket
	go func() { r.ended <- Serve(ctx, cfg) }()
	t.Cleanup(cancel)
	return r
}

// end ends the agent and returns what Serve does.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("Serve does not end with its context")
		return nil
	}
}

// agentOf is the configuration of an agent in front of a fake API server.
func agentOf(t *testing.T, api *fakeAPI) AgentConfig {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"ca.crt": string(api.ca), "token": fakeToken + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return AgentConfig{Namespace: Namespace, Node: "w1", Rate: 20, Digest: "d1", Run: "r1", Service: api.address, Credentials: dir}
}

func get[T any](t *testing.T, c *caller, method, path string) (v T) {
	t.Helper()
	if err := c.call(t.Context(), method, path, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 15 s in vain: %s", what)
		}
	}
}

// awaitProbing waits for the first answers.
func awaitProbing(t *testing.T, c *caller) {
	t.Helper()
	eventually(t, "the agent probes", func() bool {
		var live probe.Live
		return c.call(t.Context(), "GET", "/live", &live) == nil && len(live.Paths) == 1 && live.Paths[0].Requests > 20
	})
}

// TestServeLeavesNothing is not parallel: it looks at all goroutines.
func TestServeLeavesNothing(t *testing.T) {
	api, n := newFakeAPI(t), newNode(t, "w1")
	agent := serve(t, n, agentOf(t, api))
	c := newCaller(n)
	awaitProbing(t, c)
	through, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	if len(agentsGoroutines()) < 5 {
		t.Errorf("these are not all of its goroutines: %s", agentsGoroutines())
	}
	if err := agent.end(t); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	through.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := through.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection to the Service outlives its agent: %v", err)
	}
	eventually(t, "all goroutines end", func() bool { return len(agentsGoroutines()) == 0 })
}

// agentsGoroutines are the stacks of what an agent and its probe started.
func agentsGoroutines() []string {
	text := make([]byte, 4<<20)
	all := strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n")
	return slices.DeleteFunc(all, func(stack string) bool {
		return !strings.Contains(stack, "hamigrate/migrate/nodeprobe.(*agent)") && !strings.Contains(stack, "hamigrate/migrate/nodeprobe.Serve") &&
			!strings.Contains(stack, "hamigrate/migrate/probe.")
	})
}

func TestAgentTells(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	serve(t, n, agentOf(t, api))
	c := newCaller(n)
	awaitProbing(t, c)

	about := get[About](t, c, "GET", "/about")
	if about.Instance == "" {
		t.Error("no instance")
	}
	if want := (About{Instance: about.Instance, Node: "w1", Digest: "d1", Run: "r1", Rate: 20, Probing: true}); about != want {
		t.Errorf("about: %+v, want %+v", about, want)
	}
	if live := get[probe.Live](t, c, "GET", "/live"); live.Paths[0].Name != "service" || live.Paths[0].From != "w1" {
		t.Errorf("live: %+v", live)
	}
	before := get[measured](t, c, "GET", "/record")
	if err := c.call(t.Context(), "POST", "/quiet", nil); err != nil {
		t.Fatal(err)
	}
	awaitProbing(t, c)
	after := get[measured](t, c, "GET", "/record")
	if before.Instance != about.Instance || after.Instance != about.Instance {
		t.Errorf("figures of %s and %s, asked %s", before.Instance, after.Instance, about.Instance)
	}
	for i, s := range after.Record.Series {
		if q := before.Record.Series[i].Quiet.Requests; q != 0 {
			t.Errorf("%s: %d quiet requests before the end of quiet", s.Kind, q)
		}
		if s.Quiet.Requests < before.Record.Series[i].Run.Requests || s.Run.Requests == 0 {
			t.Errorf("%s: %d quiet and %d other requests; there had been %d", s.Kind, s.Quiet.Requests, s.Run.Requests, before.Record.Series[i].Run.Requests)
		}
	}
}

func TestAgentStops(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	serve(t, n, agentOf(t, api))
	c := newCaller(n)
	awaitProbing(t, c)

	first := get[measured](t, c, "POST", "/stop")
	if get[About](t, c, "GET", "/about").Probing {
		t.Error("a stopped agent says that it probes")
	}
	again, later := get[measured](t, c, "POST", "/stop"), get[measured](t, c, "GET", "/record")
	if !reflect.DeepEqual(first, again) || !reflect.DeepEqual(first, later) {
		t.Errorf("the record differs from one time to the next: %v, %v, %v", first, again, later)
	}
	// A few may fail on a machine that is busy.
	if r := probe.Results(first.Record); r.Requests() < 20 || r.Failures() > r.Requests()/2 {
		t.Errorf("%d requests, %d failures", r.Requests(), r.Failures())
	}
}

// TestAgentStoppedBeforeItBegan: what comes up later must not go on.
func TestAgentStoppedBeforeItBegan(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	api.forbid.Store(true)
	serve(t, n, agentOf(t, api))
	c := newCaller(n)
	eventually(t, "the agent tells a problem", func() bool {
		var about About
		return c.call(t.Context(), "GET", "/about", &about) == nil && about.Problem != ""
	})
	first := get[measured](t, c, "POST", "/stop")
	api.forbid.Store(false)
	time.Sleep(1500 * time.Millisecond) // it would try again after one second
	if about := get[About](t, c, "GET", "/about"); about.Probing {
		t.Errorf("it probes: %+v", about)
	}
	if again := get[measured](t, c, "POST", "/stop"); !reflect.DeepEqual(first, again) {
		t.Errorf("it measured: %+v", again)
	}
}

func TestAgentTellsItsProblem(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	api.forbid.Store(true)
	serve(t, n, agentOf(t, api))
	c := newCaller(n)
	var about About
	eventually(t, "the agent tells a problem", func() bool {
		return c.call(t.Context(), "GET", "/about", &about) == nil && about.Problem != ""
	})
	if about.Probing || !strings.Contains(about.Problem, "not you") {
		t.Errorf("about: %+v, want what the API server said", about)
	}
	if m := get[measured](t, c, "GET", "/record"); len(m.Record.Series) != 0 {
		t.Errorf("figures of nothing: %+v", m)
	}
	api.forbid.Store(false)
	eventually(t, "it probes when the API lets it", func() bool { return get[About](t, c, "GET", "/about").Probing })
	if about := get[About](t, c, "GET", "/about"); about.Problem != "" {
		t.Errorf("still a problem: %q", about.Problem)
	}
}

// TestAgentDials: through the agent there is a way to the Service, and to
// nothing else.
func TestAgentDials(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	serve(t, n, agentOf(t, api))
	c := newCaller(n)
	awaitProbing(t, c)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(api.ca)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1/readyz", nil)
	req.Header.Set("Authorization", "Bearer "+fakeToken)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v through the agent", body, err)
	}

	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		if conn, err := other.Accept(); err == nil {
			conn.Close()
			t.Error("the agent dialed what it was asked for")
		}
	}()
	conn, err := n.DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := api.opened.Load()
	to := other.Addr().String()
	io.WriteString(conn, "GET http://"+to+"/dial?to="+to+"&address="+to+" HTTP/1.1\r\nHost: "+to+"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	eventually(t, "a connection to the Service", func() bool { return api.opened.Load() > before })
	conn.Close()
	other.Close()
}

func TestAgentDialsInVain(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	cfg := agentOf(t, api)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Service = nobody.Addr().String()
	nobody.Close()
	serve(t, n, cfg)
	c := newCaller(n)
	eventually(t, "the agent answers", func() bool { return c.call(t.Context(), "GET", "/about", nil) == nil })
	if conn, err := c.dial(t.Context()); err == nil {
		conn.Close()
		t.Error("a connection to nobody")
	} else if !strings.Contains(err.Error(), "w1") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v, want the node and why", err)
	}
}

// TestAgentTakesAStaleSocketsPlace: one that was killed leaves its socket.
func TestAgentTakesAStaleSocketsPlace(t *testing.T) {
	t.Parallel()
	api, n := newFakeAPI(t), newNode(t, "w1")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: n.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	cfg := agentOf(t, api)
	first := serve(t, n, cfg)
	c := newCaller(n)
	awaitProbing(t, c)
	one := get[About](t, c, "GET", "/about").Instance

	// The next one is there before the first has ended, and is not harmed by
	// that.
	serve(t, n, cfg)
	eventually(t, "the second agent answers", func() bool { return get[About](t, c, "GET", "/about").Instance != one })
	if err := first.end(t); err != nil {
		t.Error(err)
	}
	awaitProbing(t, c)
	names, err := os.ReadDir(filepath.Dir(n.socket))
	if err != nil || len(names) != 1 {
		t.Errorf("beside the socket: %v, %v", names, err)
	}
}

func TestServeSaysWhereItCantListen(t *testing.T) {
	t.Parallel()
	err := Serve(t.Context(), AgentConfig{Socket: filepath.Join(t.TempDir(), "no", "such", "folder", "s")})
	if err == nil || !strings.Contains(err.Error(), "no/such/folder/s") {
		t.Errorf("%v", err)
	}
}

// TestAgentAlone: half an hour without a question ends the probing, a day
// ends the agent, and a question puts both off.
func TestAgentAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &agent{}
		a.touch()
		gone := make(chan struct{})
		go func() {
			a.watchSilence(ctx, cancel)
			close(gone)
		}()
		probes := func() bool { a.mu.Lock(); defer a.mu.Unlock(); return !a.stopped }

		time.Sleep(lonely - time.Minute)
		a.touch()
		time.Sleep(lonely - time.Minute)
		synctest.Wait()
		if !probes() {
			t.Error("stopped though it was asked")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if probes() {
			t.Errorf("probes after %s of silence", a.silence())
		}
		time.Sleep(abandoned - lonely - 2*time.Minute)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Errorf("ended after %s of silence: its figures are lost", a.silence())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Errorf("has not ended after %s of silence", a.silence())
		}
		cancel()
		<-gone
	})
}
