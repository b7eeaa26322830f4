package phases_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/phases/verify"
)

// logins refuses every login and remembers which had no deadline.
type logins struct {
	mu    sync.Mutex
	seen  []string
	timed []string // those whose first login had one
}

func (l *logins) Host(ctx context.Context, h cluster.Host) (remote.Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, timed := ctx.Deadline(); timed && !slices.Contains(l.seen, h.Name) {
		l.timed = append(l.timed, h.Name)
	}
	l.seen = append(l.seen, h.Name)
	return nil, errors.New("not today")
}

// TestLoginHasNoDeadline: it may ask for a password.
func TestLoginHasNoDeadline(t *testing.T) {
	t.Parallel()
	spec := cluster.Spec{}
	spec.ControlPlane.First = cluster.Host{Name: "cp1"}
	spec.Etcd.Hosts = []cluster.Host{{Name: "e1"}, {Name: "e2"}}
	for name, run := range map[string]func(*phases.Access) error{
		"preflight": func(w *phases.Access) error {
			_, err := preflight.Run(t.Context(), w, preflight.Options{LookOnly: true})
			return err
		},
		"verify": func(w *phases.Access) error { _, err := verify.Run(t.Context(), w, nil); return err },
	} {
		l := &logins{}
		w := phases.NewAccess(spec, l)
		if err := run(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.Close()
		if len(l.timed) > 0 || len(l.seen) == 0 {
			t.Errorf("%s: of the logins %v, those to %v had a deadline", name, l.seen, l.timed)
		}
	}
}
