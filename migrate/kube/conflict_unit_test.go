package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A write that timed out is not one that succeeded: client-go's own retry
// makes nil of it.
func TestOnConflictKeepsTheErrorOfTheLastAttempt(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, "hamigrate", errors.New("modified"))
	late := fmt.Errorf("Put https://cp1:6443: %w", context.DeadlineExceeded)
	cases := []struct {
		name     string
		attempts []error
		want     error
		tries    int
	}{
		{"at once", []error{nil}, nil, 1},
		{"late", []error{late}, context.DeadlineExceeded, 1},
		{"cancelled", []error{fmt.Errorf("Put: %w", context.Canceled)}, context.Canceled, 1},
		{"conflict, then done", []error{conflict, nil}, nil, 2},
		{"conflict, then late", []error{conflict, late}, context.DeadlineExceeded, 2},
		{"conflicts only", []error{conflict, conflict, conflict, conflict}, conflict, 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tries := 0
			err := onConflict(func() error { tries++; return c.attempts[tries-1] })
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || tries != c.tries {
				t.Errorf("error %v after %d attempts, want %v after %d", err, tries, c.want, c.tries)
			}
		})
	}
}
