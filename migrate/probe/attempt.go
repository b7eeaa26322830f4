package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

// stage is how far a request got.
type stage int32

const (
	stageConnect stage = iota
	stageTLS
	stageAnswer
)

func (s stage) String() string {
	switch s {
	case stageConnect:
		return "connecting"
	case stageTLS:
		return "TLS handshake"
	default:
		return "waiting for the answer"
	}
}

// attempt watches one request from below client-go and below Go's HTTP
// transport, so that neither can hide what happened. The hooks may be called
// after the request has ended, hence the atomics.
type attempt struct {
	stage atomic.Int32
	conns atomic.Int32 // connections handed to the request; each more is one more sending
	trips atomic.Int32 // requests that client-go made for the one asked for
	err   atomic.Pointer[error]
	lost  atomic.Pointer[sentError] // the first of the requests that got no answer
	conn  atomic.Pointer[string]    // the last connection that it was given
}

type attemptKey struct{}

// observe returns a context in which the request is watched.
func observe(ctx context.Context) (context.Context, *attempt) {
	a := &attempt{}
	ctx = context.WithValue(ctx, attemptKey{}, a)
	// client-go logs a broken answer to standard error by itself. We count
	// it, and a zero Logger is silent.
	ctx = klog.NewContext(ctx, klog.Logger{})
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { a.stage.CompareAndSwap(int32(stageConnect), int32(stageTLS)) },
		GotConn: func(got httptrace.GotConnInfo) {
			conn := describe(got.Conn)
			a.conn.Store(&conn)
			a.conns.Add(1)
			a.stage.Store(int32(stageAnswer))
		},
	}), a
}

// again is how often the request was made again: by client-go because the
// answer told it to (retries), and by the HTTP transport without being told
// (replays).
type again struct{ retries, replays int }

func (a *attempt) again() again {
	trips := a.trips.Load()
	return again{retries: int(max(trips-1, 0)), replays: int(max(a.conns.Load()-max(trips, 1), 0))}
}

// unanswered is the failure of a request that client-go has made up for by a
// second one: clients on other libraries would have seen it.
func (a *attempt) unanswered() error {
	if p := a.lost.Load(); p != nil {
		return p
	}
	return nil
}

// hidden is the failure of the last HTTP request below client-go, which
// returns an empty watch instead of some errors (rest.Request.Watch does for
// a timeout and for a connection that closed).
func (a *attempt) hidden() error {
	if p := a.err.Load(); p != nil {
		return *p
	}
	return nil
}

// stageError says how far a request got that failed.
type stageError struct {
	stage stage
	err   error
}

func (e *stageError) Error() string { return fmt.Sprintf("%s: %v", e.stage, e.err) }
func (e *stageError) Unwrap() error { return e.err }

// timeoutError is an answer that did not come in time.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }

// sentError is a failure with the connection that the request was sent on.
type sentError struct {
	err        error
	connection string // empty: it got none
}

func (e *sentError) Error() string { return e.err.Error() }
func (e *sentError) Unwrap() error { return e.err }

// explain adds to the failure of a request how far it got, and on which
// connection. One that was explained when it happened is left alone.
func (a *attempt) explain(err error, timeout time.Duration) error {
	var known *sentError
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &timeoutError{after: timeout}
	}
	return a.sent(err)
}

// sent is a failure as it is now: later the request may be made again on
// another connection. An answer with an error in it got all the way.
func (a *attempt) sent(err error) *sentError {
	failed := &sentError{err: err}
	if conn := a.conn.Load(); conn != nil {
		failed.connection = *conn
	}
	var answered answeredError
	if _, ok := statusOf(err); !ok && !errors.As(err, &answered) {
		failed.err = &stageError{stage: stage(a.stage.Load()), err: err}
	}
	return failed
}

// answeredError is an answer that came but is not what it should be.
type answeredError string

func (e answeredError) Error() string { return string(e) }

// observed is a transport that tells the attempt in the request's context
// what became of it, and adds the credentials.
type observed struct {
	next  http.RoundTripper
	token func() (string, error)
}

// RoundTrip implements http.RoundTripper.
func (o *observed) RoundTrip(req *http.Request) (*http.Response, error) {
	if o.token != nil {
		token, err := o.token()
		if err != nil {
			return nil, fmt.Errorf("getting the bearer token: %w", err)
		}
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	a, watched := req.Context().Value(attemptKey{}).(*attempt)
	if watched {
		// What an earlier request got is not this one's.
		a.conn.Store(nil)
		a.stage.Store(int32(stageConnect))
	}
	resp, err := o.next.RoundTrip(req)
	if watched {
		a.trips.Add(1)
		a.err.Store(&err)
		if err != nil {
			a.lost.CompareAndSwap(nil, a.sent(err))
		}
	}
	return resp, err
}
