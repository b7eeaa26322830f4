package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

const (
	// slowBody is how long a slow client takes to send its request: as long, an
	// API server that ends has it to answer.
	slowBody  = 3 * time.Second
	slowEvery = 500 * time.Millisecond
	// slowLimit is that and more than what any restart may cost.
	slowLimit = slowBody + 7*time.Second
)

// slowClient keeps a connection on which six requests are always under way. An
// API server that is ended with them fails all six. They write nothing
// (dryRun), so that nothing has to be cleared away.
type slowClient struct {
	client *http.Client
	url    string
	body   []byte
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu     sync.Mutex
	done   int
	failed []string
}

// beside lets a slow client ask through address while work is done, and wants
// all its requests answered.
func beside(t *testing.T, p *playground, address string, work func()) {
	t.Helper()
	config := p.restConfig(t, address)
	clientTLS, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(&corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{GenerateName: "slow-"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &slowClient{
		client: &http.Client{Transport: utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: clientTLS, DialContext: config.Dial})},
		url:    config.Host + "/api/v1/namespaces/default/configmaps?dryRun=All", body: body, cancel: cancel,
	}
	s.asking.Go(func() { s.loop(ctx, t.Context()) })
	work()
	s.cancel()
	s.asking.Wait()
	s.client.CloseIdleConnections()
	t.Logf("%d requests that took %s through %s, %d failed", s.done, slowBody, address, len(s.failed))
	for _, f := range s.failed {
		t.Errorf("a request that took %s: %s", slowBody, f)
	}
	if s.done < int(slowBody/slowEvery) {
		t.Errorf("%d requests were made: too few to say anything", s.done)
	}
}

// loop begins a request now and then until ctx ends; work is theirs.
func (s *slowClient) loop(ctx, work context.Context) {
	tick := time.NewTicker(slowEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.asking.Go(func() { s.note(time.Now(), s.ask(work)) })
		}
	}
}

func (s *slowClient) note(sent time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if err != nil {
		s.failed = append(s.failed, fmt.Sprintf("sent at %s, failed after %.1f s: %v", sent.UTC().Format("15:04:05.000"), time.Since(sent).Seconds(), err))
	}
}

func (s *slowClient) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, slowLimit)
	defer cancel()
	// As client-go does it, the request can be sent again to another API server
	// where the first one says that it has not looked at it.
	again := func() (io.ReadCloser, error) {
		return io.NopCloser(&slowly{ctx: ctx, rest: bytes.NewReader(s.body), wait: slowBody}), nil
	}
	first, err := again()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, first)
	if err != nil {
		return err
	}
	req.GetBody, req.ContentLength = again, int64(len(s.body))
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return err
}

// slowly is a text that comes after a while.
type slowly struct {
	ctx  context.Context //nolint:containedctx // a Reader has no other way to hear of it
	rest io.Reader
	wait time.Duration
}

// Read implements io.Reader.
func (s *slowly) Read(p []byte) (int, error) {
	if s.wait > 0 {
		select {
		case <-time.After(s.wait):
			s.wait = 0
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
	return s.rest.Read(p)
}
