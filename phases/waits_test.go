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

	corev1 "k8s.io/api/core/v1"
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
		client, err := kubernetes.NewForConfig(NewAccess(spec, hosts).tellingOf(&rest.Config{Host: api.URL}, "cp1"))
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

// markedHosts note which of the logins are for a change. Nobody gets in.
type markedHosts struct{ marked []bool }

func (m *markedHosts) Host(ctx context.Context, _ cluster.Host) (remote.Host, error) {
	m.marked = append(m.marked, remote.Changes(ctx))
	return nil, errors.New("nobody connects")
}

// TestChangesSayThatTheyAre: a host that has not let a look in is tried again for
// them, and looks are told at once.
func TestChangesSayThatTheyAre(t *testing.T) {
	t.Parallel()
	hosts := new(markedHosts)
	w := NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, hosts)
	ctx, v, h := t.Context(), w.Reader("cp1").On("cp1"), w.Writer("cp1").On("cp1")
	asked := func(changes bool, what ...func() error) {
		t.Helper()
		for i, do := range what {
			if hosts.marked = nil; do() == nil || !slices.Equal(hosts.marked, []bool{changes}) {
				t.Errorf("%d: marked %v", i, hosts.marked)
			}
		}
	}
	asked(false,
		func() error { _, err := v.Look(ctx, remote.Cmd("true")); return err },
		func() error { _, err := v.ReadFile(ctx, "/x"); return err },
		func() error { _, err := v.List(ctx, "/x"); return err },
		func() error { _, err := v.DialContext(ctx, "tcp", "192.0.2.1:1"); return err },
		func() error { _, err := h.Look(ctx, remote.Cmd("true")); return err })
	asked(true,
		func() error { _, err := h.Run(ctx, remote.Cmd("true")); return err },
		func() error { return h.AwaitDetached(ctx) },
		func() error { return h.WriteFile(ctx, remote.File{Path: "/x"}) },
		func() error { return h.Copy(ctx, v, "/x", remote.File{Path: "/x"}) },
		func() error { return h.Rename(ctx, "/x", "/y") },
		func() error { return h.Remove(ctx, "/x") })

	client, err := kubernetes.NewForConfig(w.tellingOf(&rest.Config{Host: "http://192.0.2.1:1", Dial: v.DialContext}, "cp1"))
	if err != nil {
		t.Fatal(err)
	}
	nodes := client.CoreV1().Nodes()
	asked(false, func() error { _, err := nodes.Get(ctx, "cp1", metav1.GetOptions{}); return err })
	asked(true,
		func() error { return nodes.Delete(ctx, "cp1", metav1.DeleteOptions{}) },
		func() error { _, err := nodes.Create(ctx, &corev1.Node{}, metav1.CreateOptions{}); return err })
}
