package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Dialer opens connections from some host.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// RESTConfig makes a client configuration from an admin kubeconfig that
// reaches one API server, at address (host:port), through dial. The
// kubeconfig's own server is not used: it may be the load balancer, and a
// step wants to know which API server answered.
func RESTConfig(kubeconfig []byte, address string, dial Dialer) (*rest.Config, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the admin kubeconfig: %w", err)
	}
	cfg.Host = (&url.URL{Scheme: "https", Host: address}).String()
	cfg.Dial = dial
	// The operator's proxy settings are for other ways than this one.
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	cfg.Timeout = 15 * time.Second
	cfg.QPS, cfg.Burst = 50, 100
	cfg.UserAgent = "migrate"
	big := make(chan struct{}, 1)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return capped{again{next}, big} })
	return cfg, nil
}

// maxAgain is how often a request is sent again: each time on another kept
// connection or a new one, and there are few kept ones.
const maxAgain = 2

// again sends a request again whose kept connection turned out to be broken.
//
// An API server that restarts, or one that hands over to the next, leaves the
// connections that were kept behind. client-go then reads again but gives a
// write up (rest/request.go: only GET is retried), since it can't know whether
// the write was done. We can: all of ours but a creation may be done twice. A
// deletion that finds nothing is success, an update carries the version that it
// replaces, a patch sets the same value.
type again struct{ next http.RoundTripper }

// WrappedRoundTripper lets client-go find the transport below
// (utilnet.RoundTripperWrapper).
func (a again) WrappedRoundTripper() http.RoundTripper { return a.next }

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, err := a.next.RoundTrip(r)
		if err == nil || attempt == maxAgain || r.Method == http.MethodPost || !connectionBroke(err) || r.Context().Err() != nil {
			return resp, err
		}
		if r.Body == nil || r.Body == http.NoBody {
			continue
		}
		if r.GetBody == nil {
			return nil, err
		}
		body, bodyErr := r.GetBody()
		if bodyErr != nil {
			return nil, errors.Join(err, bodyErr)
		}
		r = r.Clone(r.Context())
		r.Body = body
	}
}

// connectionBroke says whether a request failed for its connection and nothing
// else. A connection through SSH that the API server has closed is a closed
// pipe here (sshhost's tunnel).
func connectionBroke(err error) bool {
	return utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE)
}
