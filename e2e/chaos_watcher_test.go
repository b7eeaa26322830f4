package e2e

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// watcher follows what a writer writes, from one watch to the next without a
// gap, as controllers do.
type watcher struct {
	of     *writer
	series *series // of the requests to begin a watch

	mu     sync.Mutex
	seen   map[string]bool
	gone   error  // the watch could not be continued where it ended
	latest string // resource version
}

func (w *watcher) loop(ctx context.Context, c kubernetes.Interface) {
	for ctx.Err() == nil {
		err := w.one(ctx, c)
		if err != nil && ctx.Err() == nil {
			time.Sleep(askEvery)
		}
	}
}

// one is one watch, from its beginning to its end.
func (w *watcher) one(ctx context.Context, c kubernetes.Interface) error {
	begun := asked{at: time.Now()}
	beginning, cut := context.WithCancel(ctx)
	defer cut()
	late := time.AfterFunc(requestTimeout, cut)
	maps := c.CoreV1().ConfigMaps(writerNamespace)
	watched, err := maps.Watch(beginning, metav1.ListOptions{
		LabelSelector: "writer=" + w.of.name, ResourceVersion: w.latest, AllowWatchBookmarks: true,
	})
	onTime := late.Stop()
	if ctx.Err() != nil {
		return nil
	}
	begun.done = time.Now()
	if err == nil && !onTime {
		err = context.DeadlineExceeded
	}
	if err != nil {
		begun.failed = err.Error()
	}
	w.series.note(begun)
	if err != nil {
		return err
	}
	defer watched.Stop()
	for e := range watched.ResultChan() {
		if e.Type == watch.Error {
			return w.ended(ctx, maps, apierrors.FromObject(e.Object))
		}
		if m, ok := e.Object.(*corev1.ConfigMap); ok {
			w.latest = m.ResourceVersion
			w.mu.Lock()
			w.seen[m.Name] = true
			w.mu.Unlock()
		}
	}
	return nil
}

// ended is what a controller does when its watch can't go on where it was: it
// lists again. An API server whose etcd had no quorum may have lost the place;
// that counts as a request that failed then, which not every fault allows.
func (w *watcher) ended(ctx context.Context, maps typedcorev1.ConfigMapInterface, why error) error {
	w.series.note(asked{at: time.Now(), done: time.Now(), failed: "the watch was ended: " + why.Error()})
	if !apierrors.IsResourceExpired(why) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gone = fmt.Errorf("it was ended: %w", why)
		return w.gone
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "writer=" + w.of.name})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range list.Items {
		w.seen[m.Name] = true
	}
	w.latest = list.ResourceVersion
	return nil
}

// missed says which acknowledged write the watch was not told of.
func (w *watcher) missed() error {
	acked := w.of.acknowledged()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone != nil {
		return w.gone
	}
	n := 0
	for i := range acked {
		if !w.seen[w.of.object(i)] {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d acknowledged writes were not told", n, acked)
	}
	return nil
}
