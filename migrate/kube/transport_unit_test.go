package kube

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// brittle is an API server that carries out the first request of each method
// and then cuts the connection instead of answering.
type brittle struct {
	mu   sync.Mutex
	seen []string // methods, with a dot for a request that had a body
}

func (b *brittle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	said := r.Method
	if len(body) > 0 {
		said += "."
	}
	b.mu.Lock()
	first := !slices.Contains(b.seen, said)
	b.seen = append(b.seen, said)
	b.mu.Unlock()
	if first {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
		return
	}
	_ = json.NewEncoder(w).Encode(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "there"}})
}

func TestSentAgainWhenTheConnectionBroke(t *testing.T) {
	t.Parallel()
	b := &brittle{}
	c, ctx := clientOf(t, b), context.Background()
	api := c.api
	if err := c.DeleteConfigMap(ctx, "kube-system", "gone"); err != nil {
		t.Errorf("a deletion whose answer was cut off: %v", err)
	}
	if err := c.EditConfigMap(ctx, "kube-system", "there", func(map[string]string) error { return nil }); err != nil {
		t.Errorf("an update whose answer was cut off: %v", err)
	}
	// What may have been created is not created again: it might have another
	// name by then.
	if _, err := api.CoreV1().ConfigMaps("kube-system").Create(ctx, &corev1.ConfigMap{}, metav1.CreateOptions{}); err == nil {
		t.Error("a creation whose answer was cut off passed for done")
	}
	if want := []string{"DELETE.", "DELETE.", "GET", "GET", "PUT.", "PUT.", "POST."}; !slices.Equal(b.seen, want) {
		t.Errorf("the API server was asked %q, not %q", b.seen, want)
	}
}

// TestNotSentAgain: a request that was refused, or given up by its caller, is
// the caller's to judge.
func TestNotSentAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	r, err := http.NewRequest(http.MethodDelete, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := again{http.DefaultTransport}.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if asked != 1 || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("asked %d times, status %d", asked, resp.StatusCode)
	}
	s.Close()
	if _, err := (again{http.DefaultTransport}).RoundTrip(r); err == nil || connectionBroke(err) {
		t.Errorf("nobody listens, and the error is %v", err)
	}
}

// clientOf makes a client, as the product makes it, of an API server.
func clientOf(t *testing.T, h http.Handler) Client {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	clusters := clientcmdapi.NewConfig()
	clusters.Clusters["brittle"] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
	clusters.Contexts["brittle"] = &clientcmdapi.Context{Cluster: "brittle"}
	clusters.CurrentContext = "brittle"
	admin, err := clientcmd.Write(*clusters)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := RESTConfig(admin, s.Listener.Addr().String(), (&net.Dialer{}).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(api)
}
