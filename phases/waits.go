package phases

import (
	"fmt"
	"net/http"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"

	"k8s.io/client-go/rest"
)

// waitTeller is implemented by Hosts that tell a person for which host the
// program waits. What is asked on a host they know themselves; what is asked
// through its connections they do not.
type waitReporter interface {
	Waits(h cluster.Host, what string) (done func())
}

// waits is how the wait for something on a host begins.
func (w *Access) waits(node string) func(what string) (done func()) {
	host, err := w.host(node)
	teller, tells := w.hosts.(waitReporter)
	if err != nil || !tells {
		return func(string) func() { return func() {} }
	}
	return func(what string) func() { return teller.Waits(host, what) }
}

// tellingOf is a configuration whose requests are told of when they take long.
// Those of the probes are not: what they find out is how long requests take.
func (w *Access) tellingOf(cfg *rest.Config, node string) *rest.Config {
	cfg, waits := rest.CopyConfig(cfg), w.waits(node)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return telling{next, waits} })
	return cfg
}

// telling tells of requests to an API server that take long.
type telling struct {
	next  http.RoundTripper
	waits func(what string) (done func())
}

// WrappedRoundTripper lets client-go find the transport below
// (utilnet.RoundTripperWrapper).
func (t telling) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t telling) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		r = r.WithContext(remote.Changing(r.Context())) // it may have to connect
	}
	defer t.waits(fmt.Sprintf("its API server's answer to %s %s", r.Method, r.URL.Path))()
	return t.next.RoundTrip(r)
}
