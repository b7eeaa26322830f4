package kube

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
)

// onConflict does fn again, a few times, while somebody else was faster.
func onConflict(fn func() error) error { return retryOn(apierrors.IsConflict, fn) }

// retryOn does fn again, a few times, while its error is one of those. It
// returns fn's last error itself: client-go's retry takes an error of fn that
// wraps context.DeadlineExceeded or Canceled for the end of its own attempts
// and returns the last retriable one instead, which is nil where there was
// none. A write that timed out would be told to have succeeded (client-go:
// util/retry/util.go, OnError, and wait.Interrupted).
func retryOn(retriable func(error) bool, fn func() error) error {
	var last error
	_ = retry.OnError(retry.DefaultBackoff, retriable, func() error {
		last = fn()
		return last
	})
	return last
}
