package probe

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// writer makes the kept writes of a path: each call is one write, and an
// object goes through create, update, delete. Several may be under way at
// once when answers are slow; each has an object of its own. An object whose
// write failed is in an unknown state, so it is left where it is and never
// used again (the namespace goes at the end).
type writer struct {
	api    *api
	ledger *ledger
	path   string // value of pathLabel

	mu    sync.Mutex
	made  int
	ready []*work
}

// work is an object and the write that is next for it.
type work struct {
	next   watch.EventType
	object *corev1.ConfigMap
}

// write makes the next write and returns its failure.
func (w *writer) write(ctx context.Context, _ uint64) error {
	job := w.take()
	e := event{name: job.object.Name, kind: job.next}
	w.ledger.sent(e)
	if err := w.do(ctx, job); err != nil {
		w.ledger.unknown(e)
		return fmt.Errorf("%s: %w", verb(job.next), err)
	}
	w.ledger.acked(e)
	w.giveBack(job)
	return nil
}

func (w *writer) do(ctx context.Context, job *work) error {
	switch job.next {
	case watch.Added:
		made, err := w.api.create(ctx, job.object)
		if err != nil {
			return err
		}
		job.object = made
	case watch.Modified:
		job.object.Data["state"] = "updated"
		made, err := w.api.update(ctx, job.object)
		if err != nil {
			return err
		}
		job.object = made
	default:
		return w.api.delete(ctx, job.object)
	}
	return nil
}

func (w *writer) take() *work {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) > 0 {
		job := w.ready[0]
		w.ready = w.ready[1:]
		return job
	}
	w.made++
	return &work{next: watch.Added, object: &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:   fmt.Sprintf("%s-%d", w.path, w.made),
			Labels: map[string]string{managedByLabel: managedBy, pathLabel: w.path},
		},
		Data: map[string]string{"state": "created"},
	}}
}

func (w *writer) giveBack(job *work) {
	switch job.next {
	case watch.Added:
		job.next = watch.Modified
	case watch.Modified:
		job.next = watch.Deleted
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = append(w.ready, job)
}

// verb names a write by the event it makes.
func verb(kind watch.EventType) string {
	switch kind {
	case watch.Added:
		return "create"
	case watch.Modified:
		return "update"
	default:
		return "delete"
	}
}
