package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// requestTimeout: what is not answered by then has failed.
	requestTimeout = 2 * time.Second
	// askEvery is the time between two requests of one kind on one path.
	askEvery = 250 * time.Millisecond
	// deadAfter is how long a kept connection may say nothing, and then not
	// answer a ping, before it is given up: longer than a request has, so that
	// a slow answer ends one request and not the connection of others.
	deadAfter = 2 * requestTimeout
)

// asked is one request of a series.
type asked struct {
	at     time.Time // sent
	done   time.Time
	failed string // why; "" for an answer
}

// series are all requests of one kind on one path.
type series struct {
	path, kind string

	mu   sync.Mutex
	list []asked
}

func (s *series) note(a asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, a)
}

// within are the requests sent from one time up to another, in that order.
func (s *series) within(from, to time.Time) []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []asked
	for _, a := range s.list {
		if !a.at.Before(from) && a.at.Before(to) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b asked) int { return a.at.Compare(b.at) })
	return out
}

// prober asks the API on every path, all through a test, with clients that
// know nothing of the program: new connections, kept ones, writes, watches.
type prober struct {
	mu    sync.Mutex
	all   []*series
	paths map[string]*probedPath
}

// probedPath is one path with its clients.
type probedPath struct {
	cancel  context.CancelFunc
	work    sync.WaitGroup
	writer  *writer
	watcher *watcher
}

func newProber() *prober { return &prober{paths: map[string]*probedPath{}} }

// begin asks on a path from now on, until end.
func (p *prober) begin(t *testing.T, pg *playground, path, address string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paths[path] != nil {
		return
	}
	config := pg.restConfig(t, address)
	config.Timeout = requestTimeout
	ctx, cancel := context.WithCancel(context.Background())
	on := &probedPath{cancel: cancel}
	p.paths[path] = on
	fresh := &asker{config: config, url: "https://" + address + readObject, fresh: true}
	kept := &asker{config: config, url: "https://" + address + readObject}
	on.writer = startWriterEvery(t, pg, fmt.Sprintf("%s-%d", path, len(p.all)), address, 2*askEvery)
	put := &asker{config: config, url: "https://" + address + "/api/v1/namespaces/" + writerNamespace + "/configmaps/kept-" + path, put: "kept-" + path}
	if err := put.make(soon(t), pg.kube(t, address)); err != nil {
		t.Fatalf("making an object to write to: %v", err)
	}
	for kind, a := range map[string]*asker{"new read": fresh, "kept read": kept, "kept write": put} {
		s := &series{path: path, kind: kind}
		p.all = append(p.all, s)
		on.work.Go(func() { a.loop(ctx, s) })
	}
	writes := &series{path: path, kind: "new write"}
	p.all = append(p.all, writes)
	on.writer.listen(writes.note)
	watches := &series{path: path, kind: "watch"}
	p.all = append(p.all, watches)
	on.watcher = &watcher{of: on.writer, series: watches, seen: map[string]bool{}}
	c, err := kubernetes.NewForConfigAndClient(config, &http.Client{Transport: transportOf(config, false)})
	if err != nil {
		t.Fatal(err)
	}
	on.work.Go(func() { on.watcher.loop(ctx, c) })
}

// end stops asking on a path. Every write that was acknowledged on it must
// have been told to its watch.
func (p *prober) end(t *testing.T, path string) *writer {
	t.Helper()
	p.mu.Lock()
	on := p.paths[path]
	delete(p.paths, path)
	p.mu.Unlock()
	if on == nil {
		return nil
	}
	on.writer.stop()
	if err := poll(t.Context(), settle, func(context.Context) error { return on.watcher.missed() }); err != nil {
		t.Errorf("the watch on %s: %v", path, err)
	}
	on.cancel()
	on.work.Wait()
	return on.writer
}

// writers are those that write now.
func (p *prober) writers() []*writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*writer
	for _, on := range p.paths {
		out = append(out, on.writer)
	}
	return out
}

// endAll is end of all paths, whatever they say.
func (p *prober) endAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, on := range p.paths {
		on.writer.stop()
		on.cancel()
		on.work.Wait()
	}
	clear(p.paths)
}

// seen is what the clients saw between two times.
type seen struct {
	requests int
	failures []string      // when, where and why
	outage   time.Duration // the longest time from a request that failed to the next answer, on one path and kind
}

func (p *prober) seen(from, to time.Time) seen {
	p.mu.Lock()
	all := slices.Clone(p.all)
	p.mu.Unlock()
	var out seen
	for _, s := range all {
		var failing time.Time
		for _, a := range s.within(from, to) {
			out.requests++
			if a.failed == "" {
				if !failing.IsZero() {
					out.outage = max(out.outage, a.done.Sub(failing))
				}
				failing = time.Time{}
				continue
			}
			if failing.IsZero() {
				failing = a.at
			}
			out.outage = max(out.outage, a.done.Sub(failing))
			out.failures = append(out.failures, fmt.Sprintf("%s %s, %s: %s", a.at.Format("15:04:05.000"), s.path, s.kind, a.failed))
		}
	}
	slices.Sort(out.failures)
	return out
}

// readObject is what every reader may read and nobody changes.
const readObject = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"

// asker sends one kind of request.
type asker struct {
	config *rest.Config
	url    string
	fresh  bool   // a connection for each request
	put    string // the ConfigMap to write; "": read

	mu sync.Mutex
	to *http.Transport
}

// transportOf is a transport with the credentials of config.
func transportOf(config *rest.Config, fresh bool) *http.Transport {
	clientTLS, err := rest.TLSConfigFor(config)
	if err != nil {
		panic(err) // it was read before
	}
	return &http.Transport{
		TLSClientConfig: clientTLS, DialContext: config.Dial, DisableKeepAlives: fresh, ForceAttemptHTTP2: !fresh,
		HTTP2: &http.HTTP2Config{SendPingTimeout: deadAfter, PingTimeout: deadAfter},
	}
}

// make makes the object that is written to.
func (a *asker) make(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.CoreV1().ConfigMaps(writerNamespace).Get(ctx, a.put, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	_, err = c.CoreV1().ConfigMaps(writerNamespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: a.put}}, metav1.CreateOptions{})
	return err
}

// loop asks until ctx ends. A request that is late does not hold up the next.
func (a *asker) loop(ctx context.Context, s *series) {
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking.Go(func() {
			one := asked{at: time.Now()}
			err := a.ask(ctx, n)
			if ctx.Err() != nil {
				return // cut off by the end: neither answered nor failed
			}
			if one.done = time.Now(); err != nil {
				one.failed = err.Error()
			}
			s.note(one)
		})
	}
}

// ask sends one request. A kept connection on which one failed is not kept.
func (a *asker) ask(ctx context.Context, n int) error {
	a.mu.Lock()
	if a.to == nil || a.fresh {
		a.to = transportOf(a.config, a.fresh)
	}
	transport := a.to
	a.mu.Unlock()
	err := a.send(ctx, transport, n)
	if err != nil && !a.fresh {
		a.mu.Lock()
		if a.to == transport {
			a.to = nil
		}
		a.mu.Unlock()
		transport.CloseIdleConnections()
	}
	return err
}

func (a *asker) send(ctx context.Context, transport *http.Transport, n int) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	method, body := http.MethodGet, []byte(nil)
	if a.put != "" {
		method = http.MethodPut
		var err error
		if body, err = json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": a.put, "namespace": writerNamespace},
			"data": map[string]string{"number": fmt.Sprint(n)},
		}); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", answer.Status, text)
	}
	return nil
}
