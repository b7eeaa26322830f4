package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
)

// watcher watches the ConfigMaps that a path's writer writes. A watch that
// ends is started again from the last resourceVersion it told, as client-go's
// reflector does. When the API server no longer knows that version (status
// 410), it starts from the present: what happened between is then missed.
type watcher struct {
	api      *api
	path     string // value of pathLabel
	series   *series
	ledger   *ledger
	interval time.Duration // at least, between two requests
	timeout  time.Duration // an answer to the request after it is a failure
	cut      chan struct{} // ends the present watch

	version string    // the last resourceVersion seen; empty: not known
	lost    time.Time // since when there is no watch; zero: none was missed yet
	started bool      // there was a watch before
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	pace := time.NewTicker(w.interval)
	defer pace.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		if err := w.once(ctx); err == nil && time.Since(began) >= w.interval {
			continue // a watch that lasted is started again at once
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
	if !w.lost.IsZero() {
		w.series.watchGap(w.lost)
	}
}

// once makes one request and, for a watch, follows it to its end. It returns
// the failure of the request, noted in the series before.
func (w *watcher) once(ctx context.Context) error {
	at := time.Now()
	if w.version == "" {
		version, err := w.list(ctx)
		if !w.note(ctx, at, false, err) {
			return err
		}
		w.version = version
		w.ledger.watchFromNow()
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := w.open(ctx, cancel)
	if !w.note(ctx, at, w.started, err) {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			w.version = ""
		}
		return err
	}
	defer stream.Stop()
	if !w.lost.IsZero() {
		w.series.watchGap(w.lost)
	}
	w.lost, w.started = time.Time{}, true
	err = w.follow(ctx, stream)
	w.lost = time.Now()
	if err != nil {
		w.note(ctx, w.lost, false, err)
	}
	return err
}

// note puts the outcome of a request into the series and says whether it
// succeeded. What our own stopping cut short is left out.
func (w *watcher) note(ctx context.Context, at time.Time, restart bool, err error) bool {
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return false
	}
	w.series.watchRequest(at, restart, err)
	if err != nil && w.lost.IsZero() {
		w.lost = at
	}
	return err == nil
}

func (w *watcher) list(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	ctx, att := observe(ctx)
	version, err := w.api.resourceVersion(ctx)
	return version, att.explain(err, w.timeout)
}

// open asks for a watch; the answer's headers must come within w.timeout.
func (w *watcher) open(ctx context.Context, cancel context.CancelCauseFunc) (watch.Interface, error) {
	late := time.AfterFunc(w.timeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	ctx, att := observe(ctx)
	stream, err := w.api.watch(ctx, w.path, w.version)
	if err == nil {
		err = att.hidden()
	}
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err == nil {
		return stream, nil
	}
	if stream != nil {
		stream.Stop()
	}
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	return nil, att.explain(err, w.timeout)
}

// follow takes the events of a watch until it ends. The end is no failure,
// but for the server's word that it can't go on from here.
func (w *watcher) follow(ctx context.Context, stream watch.Interface) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.cut:
			return nil
		case ev, ok := <-stream.ResultChan():
			if !ok {
				return nil
			}
			if done, err := w.take(ev); done {
				return err
			}
		}
	}
}

// take handles one event; done says that the watch is over.
func (w *watcher) take(ev watch.Event) (done bool, err error) {
	if ev.Type == watch.Error {
		err := apierrors.FromObject(ev.Object)
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return true, nil // a broken stream, or a server that ends it
		}
		w.version = ""
		return true, answeredError(fmt.Sprintf("status %d: the last resourceVersion is too old", http.StatusGone))
	}
	object, err := meta.Accessor(ev.Object)
	if err != nil {
		return true, answeredError("an event without an object")
	}
	w.version = object.GetResourceVersion()
	if ev.Type != watch.Bookmark {
		w.ledger.seen(event{name: object.GetName(), kind: ev.Type})
	}
	return false, nil
}
