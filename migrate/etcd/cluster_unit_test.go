package etcd

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeerHost(t *testing.T) {
	t.Parallel()
	for want, urls := range map[string][]string{
		"":           nil,
		"localhost":  {"https://localhost:2380"},
		"10.88.0.21": {"https://10.88.0.21:2380", "https://10.88.0.22:2380"},
		"fd00::1":    {"https://[fd00::1]:2380"},
		"e1.example": {"https://e1.example"},
	} {
		if got := (Member{PeerURLs: urls}).PeerHost(); got != want {
			t.Errorf("%v: %q, not %q", urls, got, want)
		}
	}
	if got := (Member{PeerURLs: []string{"https://a b:%"}}).PeerHost(); got != "" {
		t.Errorf("no URL: %q", got)
	}
}

func TestEndpointsUnknown(t *testing.T) {
	t.Parallel()
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not now") }
	c := New(nil, []Endpoint{{Host: "e1", Address: "10.88.0.21:2379", Dial: dial}, {Host: "e2", Address: "10.88.0.22:2379", Dial: dial}})
	if diff := cmp.Diff([]string{"e1", "e2"}, c.Hosts()); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Status(context.Background(), "e9"); err == nil || !strings.Contains(err.Error(), "e9") {
		t.Errorf("a host that is no endpoint: %v", err)
	}
	if err := c.Promote(context.Background(), "e9", 1); err == nil || !strings.Contains(err.Error(), "e9") {
		t.Errorf("a host that is no endpoint: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Members(ctx); err == nil || !strings.Contains(err.Error(), "e1") {
		t.Errorf("nobody answers: %v", err)
	}
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	none := New(nil, nil)
	if _, err := none.Members(context.Background()); err == nil {
		t.Error("without endpoints a list was given")
	}
	if _, _, err := none.Get(context.Background(), "/x"); err == nil {
		t.Error("without endpoints a key was read")
	}
}
