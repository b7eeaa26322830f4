package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
)

const (
	// maxAnswer is the most that is read of one answer. The largest legitimate
	// ones are lists of all workloads: some 10 KB for each.
	maxAnswer = 32 << 20
	// bigAnswer is what one may have without waiting for others that are as big:
	// client-go holds an answer in memory as a whole, and several are asked for at
	// once.
	bigAnswer = 1 << 20
)

// errTooMuch is an answer that is cut.
var errTooMuch = errors.New("its answer has more than 32 MiB")

// capped bounds what the answers of an API server take of our memory. A host
// that was taken over can answer without end.
type capped struct {
	next http.RoundTripper
	big  chan struct{} // one answer at a time
}

// WrappedRoundTripper lets client-go find the transport below
// (utilnet.RoundTripperWrapper).
func (c capped) WrappedRoundTripper() http.RoundTripper { return c.next }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	// A watch and a log that is followed are read piece by piece, for hours.
	if q := r.URL.Query(); err != nil || resp.Body == nil || q.Has("watch") || q.Has("follow") || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, err
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, ctx: r.Context(), big: c.big}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	ctx  context.Context
	big  chan struct{}
	read int

	holds bool
	once  sync.Once
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.read > bigAnswer && !b.holds {
		select {
		case b.big <- struct{}{}:
			b.holds = true
		case <-b.ctx.Done():
			return 0, context.Cause(b.ctx)
		}
	}
	if b.read > maxAnswer {
		return 0, errTooMuch
	}
	n, err := b.ReadCloser.Read(p)
	b.read += n
	return n, err
}

// Close is called by whoever has read enough, also after an error.
func (b *cappedBody) Close() error {
	b.once.Do(func() {
		if b.read > maxAnswer {
			runtime.GC() // the next one may come at once, from the same host
		}
		if b.holds {
			<-b.big
		}
	})
	return b.ReadCloser.Close()
}
