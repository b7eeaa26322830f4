package kube

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxBody is how much one answer of an API server may have, in bytes, after it was
// unpacked. client-go reads an answer whole before it looks at it, so one that does
// not end would fill the memory. Objects are at most 1.5 MiB (etcd's limit of a
// request), lists are read in pages (each).
const maxBody = 32 << 20

// ErrTooMuch is an answer of more than maxBody bytes.
var ErrTooMuch = errors.New("the answer is too long")

// bounded ends an answer that goes on for too long. A watch is no answer in this
// sense; nothing here watches.
type bounded struct{ next http.RoundTripper }

// WrappedRoundTripper lets client-go find the transport below
// (utilnet.RoundTripperWrapper).
func (b bounded) WrappedRoundTripper() http.RoundTripper { return b.next }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil && resp.Body != nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxBody + 1, what: r.Method + " " + r.URL.Path}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int // bytes
	what string
}

// Read ends with ErrTooMuch where there is a byte more than is allowed.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d MiB to %s", ErrTooMuch, maxBody>>20, b.what)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
