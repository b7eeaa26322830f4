package nodeprobe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hamigrate/migrate/probe"
)

// AgentConfig is what an agent is started with.
type AgentConfig struct {
	Socket    string  // where to listen; its folder exists
	Namespace string  // where to make the ConfigMaps that are read and written
	Node      string  // the name to measure under: Path.From
	Rate      float64 // requests a second for each kind
	Digest    string  // SHA-256 of the program, to know it again
	Run       string  // what the figures belong to
	// Service is host:port of the kubernetes Service, as the kubelet tells it
	// to every pod.
	Service string
	// Credentials is the folder with the token and the CA that the kubelet
	// projects into the pod.
	Credentials string
}

const (
	// lonely is after how much silence an agent stops probing: nobody will
	// ask for its figures any more, and its writes are a load.
	lonely = 30 * time.Minute
	// abandoned is when it ends altogether.
	abandoned = 24 * time.Hour
)

// About is what an agent says of itself. Instance is another one for each
// start, so that nobody takes the figures of two agents for one's.
type About struct {
	Instance string  `json:"instance"`
	Node     string  `json:"node"`
	Digest   string  `json:"digest"`
	Run      string  `json:"run"`
	Rate     float64 `json:"rate"`
	Probing  bool    `json:"probing"` // it has begun, and was not stopped
	Problem  string  `json:"problem"` // why it has not begun yet
}

// measured is what an agent's figures travel in.
type measured struct {
	Instance string       `json:"instance"`
	Record   probe.Record `json:"record"`
}

// agent serves one probe.
type agent struct {
	cfg      AgentConfig
	instance string
	asked    atomic.Int64 // when it was last asked, Unix seconds

	mu      sync.Mutex
	probe   *probe.Probe
	stopped bool
	problem string
}

// Serve probes and answers on the socket until ctx ends or nobody has asked
// for a day. It returns an error when it can't listen.
func Serve(ctx context.Context, cfg AgentConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &agent{cfg: cfg, instance: strconv.FormatInt(time.Now().UnixNano(), 36)}
	listener, err := listen(cfg.Socket, a.instance)
	if err != nil {
		return err
	}
	a.touch()
	// A connection that was upgraded is not the server's any more: it ends
	// with its request's context.
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	var work sync.WaitGroup
	work.Go(func() { a.begin(ctx) })
	work.Go(func() { a.watchSilence(ctx, cancel) })
	work.Go(func() { <-ctx.Done(); server.Close() })
	err = server.Serve(listener)
	cancel()
	work.Wait()
	a.stop()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", cfg.Socket, err)
	}
	return nil
}

// listen takes the socket's place, also where one was left by an agent that
// died. Its name at first is the agent's own: process IDs are all 1 in pods,
// and the agent before may be about to end. Who may connect is decided by the
// folder (see install): the SSH user need not be root.
func listen(path, instance string) (net.Listener, error) {
	beside := filepath.Join(filepath.Dir(path), "."+instance)
	listener, err := net.Listen("unix", beside)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(beside, 0o666), os.Rename(beside, path)); err != nil {
		listener.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return listener, nil
}

func (a *agent) touch() { a.asked.Store(time.Now().Unix()) }

func (a *agent) silence() time.Duration { return time.Since(time.Unix(a.asked.Load(), 0)) }

// begin starts the probe, as soon as the API lets it, unless it was stopped
// before.
func (a *agent) begin(ctx context.Context) {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		p, err := a.start(ctx)
		switch over := a.started(p, err); {
		case over && p != nil:
			p.Stop()
			return
		case over || err == nil:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

func (a *agent) start(ctx context.Context) (*probe.Probe, error) {
	ca, err := os.ReadFile(filepath.Join(a.cfg.Credentials, "ca.crt"))
	if err != nil {
		return nil, err
	}
	return probe.Start(ctx, probe.Config{
		Paths:     []probe.Path{{Name: "service", From: a.cfg.Node, URL: "https://" + a.cfg.Service}},
		CA:        ca,
		Token:     a.token,
		Namespace: a.cfg.Namespace, Guest: true,
		Rate: a.cfg.Rate,
	})
}

// started keeps what came of a start. Over: the agent was stopped meanwhile,
// and what it has told of its figures stays true.
func (a *agent) started(p *probe.Probe, err error) (over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.stopped:
		return true
	case err != nil:
		a.problem = err.Error()
	default:
		a.probe, a.problem = p, ""
	}
	return false
}

// token is read again each time: the kubelet renews it.
func (a *agent) token() (string, error) {
	text, err := os.ReadFile(filepath.Join(a.cfg.Credentials, "token"))
	return strings.TrimSpace(string(text)), err
}

// stop ends the probing and waits for what is due.
func (a *agent) stop() {
	a.mu.Lock()
	p := a.probe
	a.stopped = true
	a.mu.Unlock()
	if p != nil {
		p.Stop()
	}
}

func (a *agent) watchSilence(ctx context.Context, end func()) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch silence := a.silence(); {
		case silence > abandoned:
			end()
		case silence > lonely:
			a.stop()
		}
	}
}

func (a *agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /about", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.about()) })
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		var live probe.Live
		if p := a.running(); p != nil {
			live = p.Snapshot()
		}
		answer(w, live)
	})
	mux.HandleFunc("GET /record", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.record()) })
	mux.HandleFunc("POST /quiet", func(http.ResponseWriter, *http.Request) {
		if p := a.running(); p != nil {
			p.Quiet()
		}
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		a.stop()
		answer(w, a.record())
	})
	mux.HandleFunc("GET /dial", a.dial)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.touch()
		mux.ServeHTTP(w, r)
	})
}

func (a *agent) running() *probe.Probe {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.probe
}

func (a *agent) about() About {
	a.mu.Lock()
	defer a.mu.Unlock()
	return About{Instance: a.instance, Node: a.cfg.Node, Digest: a.cfg.Digest, Run: a.cfg.Run, Rate: a.cfg.Rate, Probing: a.probe != nil && !a.stopped, Problem: a.problem}
}

func (a *agent) record() measured {
	m := measured{Instance: a.instance}
	if p := a.running(); p != nil {
		m.Record = p.Record()
	}
	return m
}

// answer writes JSON. A reader that went away is none of our business.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// dial makes the HTTP connection a connection from this pod to the kubernetes
// Service, and to nowhere else.
func (a *agent) dial(w http.ResponseWriter, r *http.Request) {
	to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", a.cfg.Service)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); err != nil {
		return
	}
	stop := context.AfterFunc(r.Context(), func() { from.Close() })
	defer stop()
	var passing sync.WaitGroup
	pass := func(dst io.Writer, src io.Reader) {
		_, _ = io.Copy(dst, src) // either side's end is the end of both
		from.Close()
		to.Close()
	}
	passing.Go(func() { pass(to, buffered) })
	passing.Go(func() { pass(from, to) })
	passing.Wait()
}
