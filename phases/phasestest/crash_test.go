// Half of the time of these tests would be TLS handshakes.
//go:debug tlsmlkem=0

package phasestest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

func allPhases(s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(s), controlplane.Phase()}
}

// lasting is how long to wait before two ends are compared: tokens and
// certificates made for a join have ended by themselves by then.
const lasting = 3 * time.Hour

// death is an instant at which the operator's program died, with all that was
// left: the world and the journal's file.
type death struct {
	phasestest.Point
	phase   phases.Phase
	end     string // key of recording.ends
	journal []byte
	at      time.Time
}

// recording is what uninterrupted runs have left.
type recording struct {
	deaths []death
	ends   map[string]*phasestest.Saved // the world after each phase
	merged int
}

// record runs phases one after the other and keeps every instant. The world
// is a new one where start is nil.
func (r *recording) record(t *testing.T, strategy phases.Strategy, start *phasestest.Saved, list ...phases.Phase) {
	synctest.Test(t, func(t *testing.T) {
		w := world(t, start)
		defer w.Close()
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.close()
		for _, p := range list {
			end := fmt.Sprintf("phase %d %s", p.Number, strategy)
			w.Watch = func(point phasestest.Point) {
				r.add(death{Point: point, phase: p, end: end, journal: o.bytes(), at: time.Now()})
			}
			if err := o.run(t.Context(), p); err != nil {
				t.Fatalf("%v; never may be: %q", err, w.Broken())
			}
			w.Watch = nil
			r.ends[end] = w.Save()
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

func world(t *testing.T, start *phasestest.Saved) *phasestest.World {
	if start == nil {
		return phasestest.New(t)
	}
	return start.World(t)
}

// add keeps a death, unless nothing at all has happened since the one before.
func (r *recording) add(d death) {
	if n := len(r.deaths); n > 0 && r.deaths[n-1].at.Equal(d.at) && bytes.Equal(r.deaths[n-1].journal, d.journal) && d.When == 0 && r.deaths[n-1].When == 1 {
		r.merged++
		return
	}
	r.deaths = append(r.deaths, d)
}

// operator is one run of the operator's program.
type operator struct {
	world   *phasestest.World
	env     *phases.World
	journal *state.Journal
	path    string
	events  migrate.Events
}

func newOperator(t *testing.T, w *phasestest.World, journal string) *operator {
	j, err := state.Open(journal, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &operator{world: w, env: w.Connect(), journal: j, path: journal}
}

func (o *operator) close() { _ = errors.Join(o.env.Close(), o.journal.Close()) }

func (o *operator) bytes() []byte {
	data, err := os.ReadFile(o.path)
	if err != nil {
		panic(err)
	}
	return data
}

func (o *operator) run(ctx context.Context, p phases.Phase) error {
	r := migrate.Runner[phases.View, phases.Hands]{Env: o.env, Journal: o.journal, Spec: o.world.Spec.Fingerprint, Events: o.events}
	return r.Run(ctx, p)
}

// sample is how many instants there are to one that is tried with -short; all
// of them take minutes.
const sample = 5

// TestKilledAtAnyInstantThenRunAgain kills the operator's program before and
// after every change it makes in the three phases, starts it again, and wants
// the end that an uninterrupted run has.
func TestKilledAtAnyInstantThenRunAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	r := &recording{ends: map[string]*phasestest.Saved{}}
	all := allPhases(phases.InPlace)
	r.record(t, phases.InPlace, nil, all...)
	if t.Failed() {
		return
	}
	r.record(t, phases.Overlap, r.ends["phase 1 in-place"], allPhases(phases.Overlap)[1])
	ends := map[string]map[string]string{}
	for end, saved := range r.ends {
		synctest.Test(t, func(t *testing.T) {
			w := saved.World(t)
			defer w.Close()
			w.Pass(lasting)
			ends[end] = w.State()
		})
	}
	t.Run("instants", func(t *testing.T) {
		for i, d := range r.deaths {
			if testing.Short() && i%sample != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s %03d %s", d.end, i, d.name()), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { resume(t, d, ends[d.end]) })
			})
		}
	})
	tried := len(r.deaths)
	if testing.Short() {
		tried = (tried + sample - 1) / sample
	}
	t.Logf("%d instants, %d of them different, %d tried", len(r.deaths)+r.merged, len(r.deaths), tried)
}

func (d death) name() string {
	when := "before"
	if d.When == 1 {
		when = "after"
	}
	op, _, _ := strings.Cut(d.Op, "\n")
	return when + " " + op[:min(60, len(op))]
}

// resume starts the program again with what a death has left.
func resume(t *testing.T, d death, want map[string]string) {
	w := d.World.World(t)
	defer w.Close()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, w, path)
	defer o.close()
	if err := o.run(t.Context(), d.phase); err != nil {
		t.Fatalf("%v; never may be: %q; %q", err, w.Broken(), w.Faults.Ops())
	}
	w.Pass(lasting)
	if got := w.State(); !maps.Equal(want, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(want, got))
	}
}
