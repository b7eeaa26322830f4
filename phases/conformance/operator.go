package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancer/haproxy"
	"hamigrate/phases/balancers"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// AllPhases are the three phases of a migration in their order, with the load
// balancer that a spec has by default.
func AllPhases(s phases.Strategy) []phases.Phase { return PhasesOf(cluster.Spec{}, s) }

// PhasesOf are the three phases of a spec.
func PhasesOf(spec cluster.Spec, s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase().For(balancers.Choice(spec)), etcd.Phase().For(s.Choice()), controlplane.Phase()}
}

// chain is phases in their order with where they begin and how they end. The
// etcd phase is in two chains, one for each strategy, and the others are in two,
// one for each load balancer that is configured.
type chain struct {
	name   string
	start  *simulator.Saved // nil: a new world
	option []simulator.Option
	phases []phases.Phase
}

// Operator is one run of the operator's program.
type Operator struct {
	World   *simulator.World
	Env     *phases.Access
	Journal *state.Journal
	Path    string
}

// NewOperator starts the operator's program with the journal in that file, a new
// one where there is none.
func NewOperator(t *testing.T, w *simulator.World, journal string) *Operator {
	t.Helper()
	j, err := state.Open(journal, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &Operator{World: w, Env: w.Connect(), Journal: j, Path: journal}
}

// Close ends the program.
func (o *Operator) Close() { _ = errors.Join(o.Env.Close(), o.Journal.Close()) }

// JournalFile is the journal as a death would leave it.
func (o *Operator) JournalFile() []byte {
	data, err := os.ReadFile(o.Path)
	if err != nil {
		panic(err)
	}
	return data
}

// RunPhase runs a phase as `migrate run` does.
func (o *Operator) RunPhase(ctx context.Context, p phases.Phase) error {
	return o.runner(nil).Run(ctx, p)
}

// runner is the engine with a listener, which may be nil.
func (o *Operator) runner(hears migrate.Events) migrate.Runner[phases.Reader, phases.Writer] {
	return migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: o.World.Spec.Fingerprint, Events: hears}
}

// WorldFrom makes the one that was saved, or a new one where nothing was.
func WorldFrom(t *testing.T, start *simulator.Saved, options ...simulator.Option) *simulator.World {
	t.Helper()
	if start == nil {
		return simulator.New(t, options...)
	}
	return start.World(t)
}

// haproxySpec is a spec that asks for HAProxy.
func haproxySpec() cluster.Spec {
	return cluster.Spec{LoadBalancer: cluster.LoadBalancer{Kind: haproxy.Balancer().Kind}}
}

// recording is all phases run without a fault, and each instant of them.
type recording struct {
	once   sync.Once
	runs   []Run
	deaths []Death
}

// recorded has the one recording of a process: a dozen of tests begin with it.
var recorded = sync.OnceValue(func() *recording { return new(recording) })

// Chains runs all phases without a fault, for the first test that asks, and
// returns where each begins and every instant of them in their order. Nobody may
// change what it returns.
func Chains(t *testing.T) ([]Run, []Death) {
	t.Helper()
	r := recorded()
	r.once.Do(func() {
		watch := func(run Run, o *Operator, at *atStep) func(simulator.Point) {
			return func(p simulator.Point) {
				r.deaths = append(r.deaths, Death{Point: p, Run: run.Name, Phase: run.Phase.Number, Step: at.id, Journal: o.JournalFile(), At: time.Now()})
			}
		}
		all, overlap := AllPhases(phases.InPlace), AllPhases(phases.Overlap)[1]
		runs := runChain(t, chain{name: "in-place", phases: all}, watch)
		if t.Failed() {
			return
		}
		runs = append(runs, runChain(t, chain{name: "overlap", start: runs[1].Start, phases: []phases.Phase{overlap}}, watch)...)
		behind := runChain(t, chain{name: "haproxy", option: []simulator.Option{simulator.HAProxy}, phases: PhasesOf(haproxySpec(), phases.InPlace)}, watch)
		if !t.Failed() {
			r.runs = append(runs, behind[0], behind[2]) // phase 2 does not know what is in front
		}
	})
	if r.runs == nil {
		t.Fatal("the phases did not run without a fault")
	}
	return r.runs, r.deaths
}

// Run is one phase, run without a fault.
type Run struct {
	Name  string
	Phase phases.Phase
	Start *simulator.Saved
	Ops   []string
	End   map[string]string // the world's state when all that ends by itself has ended
}

// atStep is where a run is.
type atStep struct{ id migrate.StepID }

func (a *atStep) Event(e migrate.Event) {
	if e.Step != "" {
		a.id = e.Step
	}
}

func runChain(t *testing.T, c chain, watch func(Run, *Operator, *atStep) func(simulator.Point)) []Run {
	t.Helper()
	var runs []Run
	var ends []*simulator.Saved
	synctest.Test(t, func(t *testing.T) {
		w := WorldFrom(t, c.start, c.option...)
		defer w.Close()
		o := NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range c.phases {
			r := Run{Name: p.Name + " " + c.name, Phase: p, Start: w.Save()}
			ops := len(w.Faults.Ops())
			at := new(atStep)
			w.Watch = watch(r, o, at)
			if err := o.runner(at).Run(t.Context(), p); err != nil {
				t.Fatalf("%v; never may be: %q", err, w.Broken())
			}
			w.Watch = nil
			r.Ops = w.Faults.Ops()[ops:]
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
			w.Pass(Lasting)
			runs[i].End = w.State()
		})
	}
	return runs
}

// Lasting is how long to wait before two ends are compared: tokens and
// certificates made for a join have ended by themselves by then.
const Lasting = 3 * time.Hour

// Rollback takes a phase back, as a new start of the program.
func (o *Operator) Rollback(ctx context.Context, p phases.Phase) error {
	return o.runner(nil).Rollback(ctx, p)
}
