package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// hears is a listener that is a function.
type hears func(migrate.Event)

func (h hears) Event(e migrate.Event) { h(e) }

// heard is run with a listener.
func heard(o *conformance.Operator, ctx context.Context, p phases.Phase, h hears) error {
	r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: o.World.Spec.Fingerprint, Events: h}
	return r.Run(ctx, p)
}

// realWithNewMembers picks the first API server, once it is pointed to the new
// members.
func realWithNewMembers(flags map[string]string) bool {
	return flags["secure-port"] == "6443" && strings.Contains(flags["etcd-servers"], "10.88.0.21")
}

// groupSteps are the steps of the overlap's step group, newest first.
func groupSteps() []migrate.StepID {
	return []migrate.StepID{"etcd/repoint-apiserver", "etcd/overlap-redirect", "etcd/overlap-endpoints", "etcd/overlap-twin"}
}

// takenBack wants the error of a step whose group was undone, these
// steps of it.
func takenBack(t *testing.T, err error, failed migrate.StepID, back ...migrate.StepID) {
	t.Helper()
	var e *migrate.StepError
	if !errors.As(err, &e) || e.Step != failed || e.Unwound == nil || e.Unwound.Err != nil || len(e.Unwound.InPlace) > 0 {
		t.Fatalf("got %v", err)
	}
	var got []migrate.StepID
	for _, w := range e.Unwound.Undone {
		got = append(got, w.Step)
	}
	if diff := cmp.Diff(back, got); diff != "" {
		t.Errorf("undone: %s", diff)
	}
}

// uninterrupted is how phase 2 ends in a copy of the world where nothing
// happens to it.
func uninterrupted(s conformance.Stage) conformance.Run {
	s.T.Helper()
	w := s.Save().World(s.T)
	defer w.Close()
	path := filepath.Join(s.TempDir(), "journal")
	if err := os.WriteFile(path, s.JournalFile(), 0o600); err != nil {
		s.Fatal(err)
	}
	o := conformance.NewOperator(s.T, w, path)
	defer o.Close()
	p := conformance.AllPhases(phases.Overlap)[1]
	if err := o.RunPhase(s.Context(), p); err != nil {
		s.Fatal(err)
	}
	w.Pass(conformance.Lasting)
	return conformance.Run{Phase: p, End: w.State()}
}

// impatient is a phase that gives an API server up that is never ready when the
// slowest one of the simulator would have been ready for long. Of the five minutes
// that a real one gets, nothing happens in the rest, and the world is looked at
// twice a second: TestTheOverlapIsTakenBack alone waits for all of them, but in a
// small sample.
func impatient(p phases.Phase) phases.Phase {
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		if id := p.Steps[i].ID; id == groupSteps()[0] || id == groupSteps()[3] {
			p.Steps[i].Settle = min(p.Steps[i].Settle, 90*time.Second)
		}
	}
	return p
}

// asBefore wants a world as it was, but for the copies of files that a way
// back leaves.
func asBefore(s conformance.Stage, before map[string]string) {
	s.T.Helper()
	s.Pass(time.Minute)
	now := conformance.WithoutCopies(s.State())
	if !maps.Equal(before, now) {
		s.Errorf("not all is as it was:\n%s", cmp.Diff(before, now))
	}
}

// TestTheOverlapIsTakenBack: something in the step group goes wrong. The run
// takes back what it did, no client notices, and a run after the cause is
// mended ends like one that nothing happened to.
func TestTheOverlapIsTakenBack(t *testing.T) {
	const sameButNearby = "nft -f - <<EOF\ntable ip nearby {\n chain a { type nat hook prerouting priority -200; }\n" +
		" chain b { type nat hook output priority -200; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.88.0.11:6443; }\n}\nEOF"
	steps := groupSteps()
	tests := []struct {
		name   string
		ill    func(map[string]string) bool
		start  bool             // it is ill at its start
		at     migrate.StepID   // when this step has started,
		script string           // this happens on w2
		mend   string           // and is mended by this
		failed migrate.StepID   // the step that fails
		back   []migrate.StepID // what is undone
	}{
		{name: "the real one ends at its start", ill: realWithNewMembers, start: true, failed: steps[0], back: steps},
		{name: "the real one is never ready", ill: realWithNewMembers, failed: steps[0], back: steps},
		{name: "the second one ends at its start", ill: conformance.IsTemporary, start: true, failed: steps[3], back: steps[3:]},
		{name: "the second one is never ready", ill: conformance.IsTemporary, failed: steps[3], back: steps[3:]},
		{name: "a path leads past the redirect", at: steps[1], script: sameButNearby, mend: "nft -f - <<EOF\ndelete table ip nearby\nEOF", failed: steps[1], back: steps[1:]},
		{name: "a path leads past it in the last moment", at: steps[0], script: sameButNearby, mend: "nft -f - <<EOF\ndelete table ip nearby\nEOF", failed: steps[0], back: steps},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				want := uninterrupted(s)
				if conformance.Sampled() {
					want.Phase = impatient(want.Phase)
				}
				s.Ail(test.ill, test.start)
				outages := s.Outages()
				var before map[string]string
				err := heard(s.Operator, s.Context(), want.Phase, func(e migrate.Event) {
					if e.Step == steps[3] && e.Kind == migrate.EventStepChecking {
						s.Pass(time.Minute)
						before = s.State()
					}
					if e.Step == test.at && e.Kind == migrate.EventStepStarted {
						s.Script("w2", test.script)
					}
				})
				takenBack(s.T, err, test.failed, test.back...)
				if test.mend != "" {
					s.Script("w2", test.mend)
				}
				asBefore(s, before)
				if now := s.Outages(); !maps.Equal(outages, now) {
					s.Errorf("clients noticed: %v, before %v", now, outages)
				}
				s.Ail(nil, false)
				if err := s.Phase(2, phases.Overlap); err != nil {
					s.Fatalf("when it is mended: %v", err)
				}
				conformance.SameEnd(s.T, s.World, want)
				if now := s.Outages(); !maps.Equal(outages, now) {
					s.Errorf("clients noticed: %v, before %v", now, outages)
				}
			})
		})
	}
}

// away is the way to the machines, one of which may be gone.
type away struct {
	*simulator.World
	name string
}

func (a *away) Host(ctx context.Context, h cluster.Host) (remote.Host, error) {
	if h.Name == a.name {
		return nil, fmt.Errorf("connecting to %s: no route to host", h.Name)
	}
	return a.World.Host(ctx, h)
}

// TestTheNodeIsAwayOnTheWayBack: what can't be undone is named, the second
// API server goes on carrying the clients, and the node helps itself.
func TestTheNodeIsAwayOnTheWayBack(t *testing.T) {
	for i, step := range groupSteps() {
		if conformance.Sampled() && i%3 != 0 {
			continue // the first and the last one
		}
		t.Run(string(step), func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				want := uninterrupted(s)
				s.Ail(realWithNewMembers, false)
				outages := s.Outages()
				way := &away{World: s.World}
				s.Env.Close()
				s.Env = phases.NewAccess(s.Spec, way)
				err := heard(s.Operator, s.Context(), impatient(want.Phase), func(e migrate.Event) {
					if e.Step == step && e.Kind == migrate.EventStepUndoing {
						way.name = "cp1"
					}
				})
				var e *migrate.StepError
				if !errors.As(err, &e) || e.Unwound == nil || e.Unwound.Err == nil || len(e.Unwound.Undone) != i || len(e.Unwound.InPlace) != 4-i || e.Unwound.InPlace[0].Step != step {
					s.Fatalf("got %v", err)
				}
				s.Pass(15 * time.Minute)
				if now := s.Outages(); !maps.Equal(outages, now) {
					s.Errorf("clients noticed: %v, before %v", now, outages)
				}
				if runs := s.State()["cp1 runs"]; strings.Count(runs, "10.88.0.21") != strings.Count(runs, "migrate-twin") {
					s.Errorf("the node has not put the old manifest back: %s", runs)
				}
				s.Ail(nil, false)
				if err := s.Phase(2, phases.Overlap); err != nil {
					s.Fatalf("when it is mended: %v", err)
				}
				conformance.SameEnd(s.T, s.World, want)
			})
		})
	}
}

// TestWhatTheWayBackLeavesAlone: a manifest that somebody else has changed, and
// an old member that is not there any more.
func TestWhatTheWayBackLeavesAlone(t *testing.T) {
	const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	for name, script := range map[string]string{
		"was changed by somebody else": "sed 's/--authorization-mode=.*/--authorization-mode=RBAC/' " + manifest + " > /x; mv /x " + manifest,
		"needs the old etcd member":    "mv /etc/kubernetes/manifests/etcd.yaml /",
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				s.Ail(realWithNewMembers, false)
				outages := s.Outages()
				var left string
				err := heard(s.Operator, s.Context(), impatient(conformance.AllPhases(phases.Overlap)[1]), func(e migrate.Event) {
					if e.Step == groupSteps()[0] && e.Kind == migrate.EventStepUndoing {
						s.Script("cp1", script)
						s.Pass(30 * time.Second)
						left = s.State()["cp1 "+manifest]
					}
				})
				var e *migrate.StepError
				if !errors.As(err, &e) || e.Unwound == nil || e.Unwound.Err == nil || len(e.Unwound.InPlace) != 4 || !strings.Contains(err.Error(), name) {
					s.Fatalf("got %v", err)
				}
				if got := s.State()["cp1 "+manifest]; got != left {
					s.Errorf("the manifest is\n%s", got)
				}
				if now := s.Outages(); !maps.Equal(outages, now) {
					s.Errorf("clients noticed: %v, before %v", now, outages)
				}
			})
		})
	}
}

// wayBack is a run of phase 2 whose group is undone, since the real API
// server never gets ready.
type wayBack struct {
	conformance.Run
	first, last int                 // its operations on the way back, counted from 1
	deaths      []conformance.Death // every instant of the way back
	journal     []byte              // that the phase begins with
}

// takenBackOnce is it as it is without a fault, for the tests that begin there.
var takenBackOnce = sync.OnceValue(func() *struct {
	sync.Once
	wayBack
} {
	return new(struct {
		sync.Once
		wayBack
	})
})

// takeBack runs it for the first test that asks.
func takeBack(t *testing.T) wayBack {
	t.Helper()
	w := takenBackOnce()
	w.Do(func() { w.wayBack = recordTakeBack(t) })
	if w.last == 0 {
		t.Fatal("the run whose way back was to be recorded has failed")
	}
	return w.wayBack
}

func recordTakeBack(t *testing.T) (w wayBack) {
	synctest.Test(t, func(t *testing.T) {
		world := simulator.New(t)
		defer world.Close()
		path := filepath.Join(t.TempDir(), "journal")
		o := conformance.NewOperator(t, world, path)
		defer func() { o.Close() }()
		if err := o.RunPhase(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		o.Close()
		o = conformance.NewOperator(t, world, path) // what failBack begins with: a program that knows of no folder yet
		s := conformance.Stage{T: t, World: world, Operator: o}
		w.Run = uninterrupted(s)
		w.Phase = impatient(w.Phase)
		world.Ail(realWithNewMembers, false)
		w.Start, w.journal = world.Save(), o.JournalFile()
		begun := len(world.Faults.Ops())
		err := heard(o, t.Context(), w.Phase, func(e migrate.Event) {
			if e.Kind != migrate.EventStepUndoing || world.Watch != nil {
				return
			}
			w.first = len(world.Faults.Ops()) - begun + 1
			world.Watch = func(p simulator.Point) {
				d := conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()}
				if n := len(w.deaths); n == 0 || !w.deaths[n-1].Like(d) {
					w.deaths = append(w.deaths, d)
				}
			}
		})
		takenBack(t, err, groupSteps()[0], groupSteps()...)
		w.Ops = world.Faults.Ops()[begun:]
		w.last = len(w.Ops)
	})
	return w
}

// TestKilledOnTheWayBackThenRunAgain kills the program before and after every
// change on the way back and starts it again: with the cause mended, which
// must end like a run that nothing happened to, and with the cause still
// there, which must take everything back.
func TestKilledOnTheWayBackThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	back := takeBack(t)
	again := 0
	t.Run("instants", func(t *testing.T) {
		for i, d := range back.deaths {
			for name, c := range map[string]struct {
				later time.Duration
				ill   bool
			}{"": {}, " late": {later: 30 * time.Minute}, " ill": {ill: true}, " late and ill": {30 * time.Minute, true}} {
				if !conformance.Share(i+len(name), 7) {
					continue
				}
				again++
				t.Run(fmt.Sprintf("%03d %s%s", i, conformance.Label(d.Op, d.When), name), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { resumeBack(t, d, back.Run, c.later, c.ill) })
				})
			}
		}
	})
	t.Logf("%d instants of the way back; %d times run again", len(back.deaths), again)
}

// resumeBack starts the program again after a death on the way back.
func resumeBack(t *testing.T, d conformance.Death, r conformance.Run, later time.Duration, ill bool) {
	w := d.World.World(t)
	defer w.Close()
	defer r.Unnoticed(t, w)()
	w.Pass(later)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	if ill {
		// What the journal calls undone is not undone twice.
		err := o.RunPhase(t.Context(), r.Phase)
		var e *migrate.StepError
		if !errors.As(err, &e) || e.Unwound == nil || e.Unwound.Err != nil || len(e.Unwound.Undone) != len(groupSteps()) {
			t.Fatalf("ill still: %v", err)
		}
	}
	w.Ail(nil, false)
	if err := o.RunPhase(t.Context(), r.Phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	conformance.SameEnd(t, w, r)
}
