package apiserver

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
)

type one struct{ *remotetest.Fake }

func (o one) Host(context.Context, cluster.Host) (remote.Host, error) { return o.Fake, nil }

// TestForgottenWhileItEnds: in every look, after it, until nothing of the
// process is left; an answer that is cut is one more look.
func TestForgottenWhileItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var did []string
		dying, cut := []string{"71\n", ""}, true
		host := remotetest.New("cp1")
		host.OnRun("conntrack -D -p tcp --state CLOSE --reply-src 10.0.0.1 --reply-port-src 6443 ", func(string, []byte) (string, error) {
			did = append(did, "forget")
			return "", nil
		})
		host.OnRun("/task/", func(string, []byte) (out string, err error) {
			if cut {
				cut = false
				return "", errors.New("the connection was cut")
			}
			out, dying = dying[0], dying[1:]
			did = append(did, "dying "+out)
			return out, nil
		})
		looks := 0
		gone := func(context.Context) error {
			did = append(did, "gone")
			if looks++; looks < 3 {
				return errors.New("it runs")
			}
			return nil
		}
		w := phases.NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, one{host})
		began := time.Now()
		if err := AwaitEnd(t.Context(), w.Writer("cp1"), "10.0.0.1:6443", time.Minute, gone); err != nil {
			t.Fatal(err)
		}
		want := []string{"gone", "forget", "gone", "forget", "gone", "forget", "gone", "dying 71\n", "forget", "gone", "dying ", "forget"}
		if !slices.Equal(did, want) || time.Since(began) != 4*time.Second {
			t.Errorf("did %q in %s", did, time.Since(began))
		}
	})
}

// TestIgnoreTimeout: time that is over is for who looks next, the end of the run
// is not.
func TestIgnoreTimeout(t *testing.T) {
	t.Parallel()
	over := errors.New("timed out after 1m30s")
	if err := IgnoreTimeout(t.Context(), over); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("Ctrl-C"))
	if err := IgnoreTimeout(ctx, context.Cause(ctx)); err == nil {
		t.Error("an interrupted wait is no error")
	}
}
