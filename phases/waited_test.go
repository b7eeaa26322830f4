package phases

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// slow is a host on which every command takes two seconds; all else is a nil
// method that panics.
type slow struct{ remote.Host }

func (slow) Run(context.Context, remote.Command) (string, error) {
	time.Sleep(2 * time.Second)
	return "", nil
}

func (s slow) Look(ctx context.Context, c remote.Command) (string, error) { return s.Run(ctx, c) }

// far makes slow the only host, behind a connection that takes its time too.
type far struct{}

func (far) Host(context.Context, cluster.Host) (remote.Host, error) {
	time.Sleep(5 * time.Second)
	return slow{}, nil
}

func TestTheWorldCountsWhatOthersTookAndNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spec := cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}
		w := NewAccess(spec, far{})
		host := w.Writer("cp1").On("cp1")
		for _, c := range []remote.Command{remote.Program("systemctl", "restart", "kubelet"), remote.Cmd("cp", "a", "b")} {
			if _, err := host.Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if _, err := host.Look(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		done := w.Waiting()
		time.Sleep(time.Second)
		done()
		if got := w.Waited(); got != 5*time.Second {
			t.Errorf("waited %s", got)
		}
	})
}

// TestAwaitSaysWhatItWaitsFor while somebody listens.
func TestAwaitSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := NewAccess(cluster.Spec{}, far{})
		wait := func() {
			t.Helper()
			tries := 0
			err := Await(t.Context(), w.Reader("cp1"), time.Minute, func(context.Context) error {
				if tries++; tries < 3 {
					return fmt.Errorf("try %d", tries)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var said []string
		w.OnWait(func(err error) { said = append(said, err.Error()) })
		wait()
		w.OnWait(nil)
		wait()
		if strings.Join(said, ", ") != "try 1, try 2" {
			t.Errorf("said %q", said)
		}
	})
}
