package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// TestWatchThatLostItsPlace lists again, which counts as a failed request;
// ended in another way, it stays so.
func TestWatchThatLostItsPlace(t *testing.T) {
	t.Parallel()
	expired := apierrors.NewResourceExpired("too old resource version: 1 (7)").Status()
	broken := metav1.Status{Status: metav1.StatusFailure, Code: 500, Reason: metav1.StatusReasonInternalError, Message: "it broke"}
	for name, tt := range map[string]struct {
		status metav1.Status
		lost   bool
	}{"expired": {expired, false}, "broken": {broken, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := &writer{name: "a", acked: 1}
			c := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: writerNamespace, Name: of.object(0), Labels: map[string]string{"writer": "a"}}})
			c.PrependWatchReactor("configmaps", func(ktesting.Action) (bool, watch.Interface, error) {
				w := watch.NewFakeWithChanSize(1, false)
				w.Action(watch.Error, runtime.Object(&tt.status))
				return true, w, nil
			})
			w := &watcher{of: of, series: &series{path: "p", kind: "watch"}, seen: map[string]bool{}, latest: "1"}
			err := w.one(t.Context(), c)
			if (err != nil) != tt.lost || (w.missed() != nil) != tt.lost {
				t.Errorf("%v, missed: %v", err, w.missed())
			}
			if n := len(w.series.list); n != 2 || w.series.list[1].failed == "" {
				t.Errorf("%d requests noted: %+v", n, w.series.list)
			}
		})
	}
}
