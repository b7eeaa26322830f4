package phasestest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

func allPhases(s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase().For(s.Choice()), controlplane.Phase()}
}

// chain is phases in their order with where they begin and how they end. The
// etcd phase is in two chains, one for each strategy.
type chain struct {
	name   string
	start  *phasestest.Saved // nil: a new world
	phases []phases.Phase
}

// operator is one run of the operator's program.
type operator struct {
	world   *phasestest.World
	env     *phases.World
	journal *state.Journal
	path    string
}

func newOperator(t *testing.T, w *phasestest.World, journal string) *operator {
	t.Helper()
	j, err := state.Open(journal, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &operator{world: w, env: w.Connect(), journal: j, path: journal}
}

func (o *operator) close() { _ = errors.Join(o.env.Close(), o.journal.Close()) }

// bytes is the journal as a death would leave it.
func (o *operator) bytes() []byte {
	data, err := os.ReadFile(o.path)
	if err != nil {
		panic(err)
	}
	return data
}

func (o *operator) run(ctx context.Context, p phases.Phase) error {
	r := migrate.Runner[phases.View, phases.Hands]{Env: o.env, Journal: o.journal, Spec: o.world.Spec.Fingerprint}
	return r.Run(ctx, p)
}

// world makes the one that was saved, or a new one where nothing was.
func world(t *testing.T, start *phasestest.Saved) *phasestest.World {
	t.Helper()
	if start == nil {
		return phasestest.New(t)
	}
	return start.World(t)
}

// chains runs all phases without a fault and returns where each begins. watch
// is asked for what is to be told of each instant; it may be nil.
func chains(t *testing.T, watch func(run, *operator) func(phasestest.Point)) []run {
	t.Helper()
	all, overlap := allPhases(phases.InPlace), allPhases(phases.Overlap)[1]
	runs := runChain(t, chain{"in-place", nil, all}, watch)
	if t.Failed() {
		return nil
	}
	return append(runs, runChain(t, chain{"overlap", runs[1].start, []phases.Phase{overlap}}, watch)...)
}

// run is one phase, run without a fault.
type run struct {
	name  string
	phase phases.Phase
	start *phasestest.Saved
	ops   []string
	end   map[string]string // the world's state when all that ends by itself has ended
}

func runChain(t *testing.T, c chain, watch func(run, *operator) func(phasestest.Point)) []run {
	t.Helper()
	var runs []run
	var ends []*phasestest.Saved
	synctest.Test(t, func(t *testing.T) {
		w := world(t, c.start)
		defer w.Close()
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.close()
		for _, p := range c.phases {
			r := run{name: p.Name + " " + c.name, phase: p, start: w.Save()}
			ops := len(w.Faults.Ops())
			if watch != nil {
				w.Watch = watch(r, o)
			}
			if err := o.run(t.Context(), p); err != nil {
				t.Fatalf("%v; never may be: %q", err, w.Broken())
			}
			w.Watch = nil
			r.ops = w.Faults.Ops()[ops:]
			runs, ends = append(runs, r), append(ends, w.Save())
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
	for i := range runs {
		synctest.Test(t, func(t *testing.T) {
			w := ends[i].World(t)
			defer w.Close()
			w.Pass(lasting)
			runs[i].end = w.State()
		})
	}
	return runs
}

// lasting is how long to wait before two ends are compared: tokens and
// certificates made for a join have ended by themselves by then.
const lasting = 3 * time.Hour

// rollback takes a phase back, as a new start of the program.
func (o *operator) rollback(ctx context.Context, p phases.Phase) error {
	r := migrate.Runner[phases.View, phases.Hands]{Env: o.env, Journal: o.journal, Spec: o.world.Spec.Fingerprint}
	return r.Rollback(ctx, p)
}
