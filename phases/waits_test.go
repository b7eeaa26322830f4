package phases

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// hearingHosts hear for what is waited for.
type hearingHosts struct {
	mu    sync.Mutex
	heard []string
}

func (h *hearingHosts) Host(context.Context, cluster.Host) (remote.Host, error) {
	return nil, errors.New("nobody connects")
}

func (h *hearingHosts) say(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, what)
}

func (h *hearingHosts) Waits(c cluster.Host, what string) (done func()) {
	h.say(c.Name + " begins: " + what)
	return func() { h.say(c.Name + " ends") }
}

// TestRequestsAreToldOf, by the host through which they go, until there is an
// answer; and a host that hears nothing is asked all the same.
func TestRequestsAreToldOf(t *testing.T) {
	t.Parallel()
	heard := new(hearingHosts)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.say("answered")
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"kind":"NodeList","apiVersion":"v1","items":[]}`)) //nolint:errcheck // the client sees it
	}))
	defer api.Close()
	spec := cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}
	list := func(hosts Hosts) {
		t.Helper()
		client, err := kubernetes.NewForConfig(NewWorld(spec, hosts).tellingOf(&rest.Config{Host: api.URL}, "cp1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
	}
	list(heard)
	want := []string{"cp1 begins: its API server's answer to GET /api/v1/nodes", "answered", "cp1 ends"}
	if !slices.Equal(heard.heard, want) {
		t.Errorf("heard %q", heard.heard)
	}
	list(struct{ Hosts }{heard})
	if !slices.Equal(heard.heard, append(want, "answered")) {
		t.Errorf("heard %q", heard.heard)
	}
}
