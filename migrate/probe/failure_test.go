package probe

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// onConnections is a transport that takes another connection for each request,
// and ends it with another error.
type onConnections struct {
	conns []net.Conn
	errs  []error
}

func (o *onConnections) RoundTrip(req *http.Request) (*http.Response, error) {
	err := o.errs[0]
	if !errors.Is(err, syscall.ECONNREFUSED) {
		httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{Conn: o.conns[0]})
	}
	o.conns, o.errs = o.conns[1:], o.errs[1:]
	return &http.Response{Body: http.NoBody}, err
}

// TestTheConnectionOfTheFailure: of a request that client-go has made again,
// the connection that failed is told, not the one that made up for it.
func TestTheConnectionOfTheFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		errs []error
		last error // what client-go returns
		want string
		age  string
	}{
		"made up for": {[]error{syscall.ECONNRESET, nil}, nil, "waiting for the answer: connection reset", "60.0 s old"},
		"not":         {[]error{syscall.ECONNRESET, syscall.ECONNREFUSED}, syscall.ECONNREFUSED, "connecting: connection refused", ""},
		"an answer":   {[]error{nil, nil}, apierrors.NewServiceUnavailable("no"), "status 503: no", "0.0 s old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pipe, _ := net.Pipe()
				defer pipe.Close()
				old, young := dialled{pipe, time.Now().Add(-time.Minute)}, dialled{pipe, time.Now()}
				ctx, att := observe(t.Context())
				client := &observed{next: &onConnections{conns: []net.Conn{old, young}, errs: tt.errs}}
				for range tt.errs {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://x", nil)
					if err != nil {
						t.Fatal(err)
					}
					if resp, err := client.RoundTrip(req); err == nil {
						resp.Body.Close()
					}
				}
				err := tt.last
				if err == nil {
					err = att.unanswered()
				}
				err = att.explain(err, time.Second)
				if f := failure(time.Now(), err); f.Reason != tt.want || !strings.HasSuffix(f.Connection, tt.age) || (f.Connection == "") != (tt.age == "") {
					t.Errorf("told %q on %q, not %q on one %s", f.Reason, f.Connection, tt.want, tt.age)
				}
				if tt.last != nil && !errors.Is(err, tt.last) {
					t.Error("the cause is lost")
				}
			})
		})
	}
}
