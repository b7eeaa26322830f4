package restore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/restore"
	"hamigrate/phases/simulator"
)

// restores runs a restore as the program does.
func restores(o *conformance.Operator, ctx context.Context, options restore.Options, events migrate.Events) error {
	r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: restore.Fingerprint(o.World.Spec), Events: events}
	return r.Run(ctx, restore.Phase(options))
}

// reconnect is the program as it starts, over other connections.
func reconnect(o *conformance.Operator, env *phases.Access) {
	_ = o.Env.Close()
	o.Env = env
}

// without is the world in which one machine is off for good.
type without struct {
	*simulator.World
	gone string
}

func (w without) Host(ctx context.Context, h cluster.Host) (remote.Host, error) {
	if h.Name == w.gone {
		return nil, fmt.Errorf("connecting to %s (%s): no route to host", h.Name, h.Address)
	}
	return w.World.Host(ctx, h)
}

// specWith is the world's spec with its workers named.
func specWith(t *testing.T, workers string) cluster.Spec {
	t.Helper()
	spec, err := cluster.ParseBytes("migrate.yaml", []byte(simulator.SpecFile+"  workers: ["+workers+"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

const (
	w1 = "{name: w1, address: 10.88.0.31}"
	w2 = "{name: w2, address: 10.88.0.32}"
)

// TestRestoreEndsWithoutAWorker loses a worker with the members, follows what
// the error says, and wants the restore to end and to leave no snapshot behind.
func TestRestoreEndsWithoutAWorker(t *testing.T) {
	start := lost(t)["controlplane"]
	for name, c := range map[string]struct {
		before, after func(*testing.T, *simulator.World)
		want          string
	}{
		"named in the spec": {
			before: func(t *testing.T, w *simulator.World) { w.Spec = specWith(t, w1+", "+w2) },
			after: func(t *testing.T, w *simulator.World) {
				w.Spec = specWith(t, w1)
				w.Remove("nodes", "", "w2")
			},
			want: "if w2 is gone for good, take it out of spec.workers, `kubectl delete node w2`, and run again",
		},
		"named in the spec, its Node left": {
			before: func(t *testing.T, w *simulator.World) { w.Spec = specWith(t, w1+", "+w2) },
			after:  func(t *testing.T, w *simulator.World) { w.Spec = specWith(t, w1) },
			want:   "if w2 is gone for good, take it out of spec.workers",
		},
		"found in the cluster": {
			before: func(*testing.T, *simulator.World) {},
			after:  func(_ *testing.T, w *simulator.World) { w.Remove("nodes", "", "w2") },
			want:   "if w2 is gone for good, `kubectl delete node w2` and run again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start.World(t)
				defer w.Close()
				if err := w.Root("w2", "systemctl stop kubelet.service"); err != nil {
					t.Fatal(err)
				}
				c.before(t, w)
				o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
				defer o.Close()
				reconnect(o, phases.NewAccess(w.Spec, without{w, "w2"}))
				err := restores(o, t.Context(), restoring(), nil)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("without w2 the restore ends with %v; want %q", err, c.want)
				}
				c.after(t, w)
				reconnect(o, phases.NewAccess(w.Spec, without{w, "w2"}))
				if err := restores(o, t.Context(), restoring(), nil); err != nil {
					t.Fatalf("run again as it says: %v", err)
				}
				for file := range w.State() {
					if strings.HasSuffix(file, "/restore/"+restoring().ID+"/etcd.db") {
						t.Errorf("a copy of the snapshot is left: %s", file)
					}
				}
			})
		})
	}
}

// TestRestoreFingerprint: with other members a restore cannot go on, without a
// worker it can.
func TestRestoreFingerprint(t *testing.T) {
	both, one := specWith(t, w1+", "+w2), specWith(t, w1)
	if both.Fingerprint == one.Fingerprint || restore.Fingerprint(both) != restore.Fingerprint(one) {
		t.Errorf("without a worker it is another restore")
	}
	moved := one
	moved.Etcd.Hosts = append([]cluster.Host{{Name: "e1", Address: "10.88.0.29"}}, one.Etcd.Hosts[1:]...)
	if restore.Fingerprint(moved) == restore.Fingerprint(one) {
		t.Errorf("with another e1 it is the same restore")
	}
}

// meanwhile does something once, when a step is done or was found done.
type meanwhile struct {
	step   migrate.StepID
	target string
	do     func()
	did    bool
}

func (m *meanwhile) Event(e migrate.Event) {
	ended := e.Kind == migrate.EventStepDone || e.Kind == migrate.EventStepSatisfied
	if ended && !m.did && e.Step == m.step && e.Target == m.target {
		m.did = true
		m.do()
	}
}

// TestRestoreByTwoOperators lets a second operator restore, from beginning to
// end, while the first one's restore is under way, and wants the first one to
// leave what serves then alone.
func TestRestoreByTwoOperators(t *testing.T) {
	start := lost(t)["controlplane"]
	for _, at := range []struct {
		step   migrate.StepID
		target string
	}{
		{"restore/stop-control-plane", "cp1"},
		{"restore/stop-control-plane", "cp3"},
		{"restore/stop-etcd", "e2"},
		{"restore/set-aside", "e1"},
		{"restore/upload", "e3"},
		{"restore/member", "e1"},
		{"restore/member", "e3"},
	} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start.World(t)
				defer w.Close()
				first := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "first"))
				defer first.Close()
				other := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "other"))
				defer other.Close()
				theirs := restoring()
				theirs.ID = "restore-20000101t000500z-4567cdef"
				theirs.ClusterID = simulator.RestoredID(theirs.ID)
				events := &meanwhile{step: at.step, target: at.target, do: func() {
					if err := restores(other, t.Context(), theirs, nil); err != nil {
						t.Errorf("the other's restore: %v; never may be: %q", err, w.Broken())
					}
				}}
				err := restores(first, t.Context(), restoring(), events)
				if !events.did || !errors.Is(err, restore.ErrOtherQuorum) {
					t.Fatalf("the restore that is late ends with %v", err)
				}
				leftAlone(t, w, theirs)
				look, err := restoring().See(t.Context(), first.Env.Reader(migrate.ClusterTarget))
				if err != nil || !strings.Contains(look.Refused, "a quorum of etcd's members answers") {
					t.Errorf("run again it is refused with %q, %v", look.Refused, err)
				}
			})
		})
	}
}

// leftAlone wants the cluster of a restore to serve still.
func leftAlone(t *testing.T, w *simulator.World, restored restore.Options) {
	t.Helper()
	w.Pass(2 * time.Minute)
	env := w.Connect()
	defer env.Close()
	if err := phases.CheckInvariants(t.Context(), env.Reader(migrate.ClusterTarget)); err != nil {
		t.Error(err)
	}
	e, err := env.Reader(migrate.ClusterTarget).Etcd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range e.Statuses(t.Context()) {
		if a.Err != nil || a.Status.ClusterID != restored.ClusterID {
			t.Errorf("the member on %s: %+v, %v", a.Host, a.Status, a.Err)
		}
	}
	if broken := w.Broken(); len(broken) > 0 {
		t.Errorf("never may be: %q", broken)
	}
}
