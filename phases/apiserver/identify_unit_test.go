package apiserver

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// sayer is an API server that says at which address it is, and its start.
func sayer(t *testing.T, address, start string) (cfg *rest.Config, metrics *int) {
	t.Helper()
	metrics = new(int)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api":
			fmt.Fprintf(w, `{"kind":"APIVersions","serverAddressByClientCIDRs":[{"clientCIDR":"10.96.0.0/12","serverAddress":"10.96.0.1:443"},{"clientCIDR":"0.0.0.0/0","serverAddress":%q}]}`, address)
		case "/metrics":
			*metrics++
			fmt.Fprintf(w, "# a\nprocess_start_time_seconds %s\nz 1\n", start)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, metrics
}

// TestIdentify: two API servers that share all but their port, and two whose
// owner gave them one name and port, are told apart. The metrics are asked for
// only where nothing else helps.
func TestIdentify(t *testing.T) {
	t.Parallel()
	const own = "10.88.0.11:6444"
	for name, c := range map[string]struct {
		temporary, real string
		metrics         bool
	}{
		"by the port":             {own, "10.88.0.11:6443", false},
		"both with one name":      {"api.example.net:443", "api.example.net:443", true},
		"a name without its port": {"api.example.net:6444", "api.example.net:6443", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporary, asked := sayer(t, c.temporary, "1.7e9")
			real, _ := sayer(t, c.real, "1.8e9")
			identify, is, err := Identify(t.Context(), temporary, own)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := identify(t.Context(), temporary); err != nil || again != is {
				t.Errorf("the same one is %q and then %q, error %v", is, again, err)
			}
			if other, err := identify(t.Context(), real); err != nil || other == is {
				t.Errorf("both are %q, error %v", other, err)
			}
			if (*asked > 0) != c.metrics {
				t.Errorf("its metrics were asked for %d times", *asked)
			}
		})
	}
}

func TestIdentifyNeedsAnAnswer(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	cfg := &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	if _, is, err := Identify(t.Context(), cfg, "10.88.0.11:6444"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("it is %q, error %v", is, err)
	}
}
