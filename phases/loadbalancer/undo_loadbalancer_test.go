package loadbalancer_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// way is a step on a target to be undone.
type way struct {
	step   phases.Step
	target string
	before migrate.Before
}

func (w way) String() string { return fmt.Sprintf("%s on %s", w.step.ID, w.target) }

// waysBack lists what phase 1 has changed by the journal and can be undone,
// newest first.
func waysBack(o *conformance.Operator, t *testing.T) []way {
	t.Helper()
	records, err := o.Journal.Records(1)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(records, func(a, b state.Record) int { return int(b.Order) - int(a.Order) })
	var out []way
	for _, r := range records {
		s := conformance.StepOf(conformance.PhasesOf(o.World.Spec, phases.Overlap)[0], migrate.StepID(r.Step))
		if r.Status.Touched() && s.Undo != nil {
			out = append(out, way{s, r.Target, r.Before})
		}
	}
	return out
}

// undo does what the engine does.
func (w way) undo(ctx context.Context, env *phases.Access) error {
	if err := w.step.Undo(ctx, env.Writer(w.target), w.before); err != nil {
		return fmt.Errorf("%s: %w", w, err)
	}
	var f migrate.Finding
	var err error
	for end := time.Now().Add(w.step.Settle); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if f, err = w.step.Check(ctx, env.Reader(w.target)); err == nil && f.Verdict == migrate.Needed {
			return conformance.AllPhases(phases.Overlap)[0].Invariants(ctx, env.Reader(migrate.ClusterTarget))
		}
	}
	return fmt.Errorf("%s: its check says %s: %s (%w)", w, f.Verdict, f.Reason, err)
}

var counted = regexp.MustCompile(`(?m)^ *"(generation|observedGeneration|kind|apiVersion)": .*\n|,$`)

// uncounted is an object without how often it was changed, and without the
// kind that its last writer has sent along or not.
func uncounted(text string) string { return counted.ReplaceAllString(text, "") }

// takenBackState is a State without what phase 1 may leave behind:
//
//   - the names in the first API server's certificate, file and wire;
//   - nginx on lb1, installed where none was, and its stream module on lb2;
//   - HAProxy on lb1, with socat on both, likewise;
//   - the copies of changed files in /var/lib/migrate;
//   - that kube-proxy was rolled out, and how often its DaemonSet was changed.
func takenBackState(w *simulator.World) map[string]string {
	out := map[string]string{}
	for name, text := range w.State() {
		host, what, _ := strings.Cut(name, " ")
		switch {
		case name == "cp1 /etc/kubernetes/pki/apiserver.crt", name == "cp1 serves at 6443":
		case name == "roll-outs", strings.HasPrefix(what, "/var/lib/migrate"):
		case host == "lb1" && strings.Contains(strings.ReplaceAll(name, "runs", "nginx"), "nginx"):
		case name == "lb2 /etc/nginx/modules-enabled/50-mod-stream.conf", name == "lb2 /usr/lib/nginx/modules/ngx_stream_module.so":
		case what == "/usr/bin/socat", host == "lb1" && strings.Contains(what, "/haproxy") && !strings.Contains(what, "migrate"):
		case name == "lb2 nginx":
			out[name] = strings.Replace(text, "load_module modules/ngx_stream_module.so;\n", "", 1)
		default:
			out[name] = uncounted(text)
		}
	}
	return out
}

// TestPhase1IsTakenBack: undone newest first, each step twice, the cluster is
// what it was, and nobody has noticed. The phase done again ends as at first.
func TestPhase1IsTakenBack(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		start := takenBackState(s.World)
		if err := s.Phase(1, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		s.Pass(time.Minute)
		end, kubelets := s.State(), restarts(s.World)
		list := waysBack(s.Operator, s.T)
		if len(list) != 10 {
			s.Fatalf("%d ways back: %v", len(list), list)
		}
		for _, w := range list {
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatal(err)
			}
			s.Pass(30 * time.Second)
			once := s.State()
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatalf("the second time: %v", err)
			}
			s.Pass(30 * time.Second)
			if twice := s.State(); !maps.Equal(once, twice) {
				s.Errorf("%s: undone twice is another world than undone once:\n%s", w, cmp.Diff(once, twice))
			}
		}
		if now := takenBackState(s.World); !maps.Equal(start, now) {
			s.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
		}
		if n := restarts(s.World) - kubelets; n != 2 {
			s.Errorf("%d restarts of kubelets for two workers", n)
		}
		for _, path := range []string{"old address", "service"} {
			if out := s.Outages()[path]; out != 0 {
				s.Errorf("%s: no answer for %s", path, out)
			}
		}
		s.Script("lb1", "nginx -t")
		migratedAgain(s, end)
	})
}

// restarts counts the kubelets that the operator has restarted.
func restarts(w *simulator.World) int {
	return len(slices.DeleteFunc(slices.Clone(w.Faults.Ops()), func(op string) bool { return !strings.Contains(op, "restart kubelet") }))
}

// again does phase 1 with a new journal and wants the end of the first time.
func migratedAgain(s conformance.Stage, end map[string]string) {
	s.T.Helper()
	o := conformance.NewOperator(s.T, s.World, filepath.Join(s.TempDir(), "again"))
	defer o.Close()
	if err := o.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
		s.Fatalf("forward again: %v", err)
	}
	s.Pass(time.Minute)
	count := func(state map[string]string) map[string]string {
		out := map[string]string{}
		for name, text := range state {
			if name != "roll-outs" {
				out[name] = uncounted(text)
			}
		}
		return out
	}
	if first, now := count(end), count(s.State()); !maps.Equal(first, now) {
		s.Errorf("done again it ends otherwise:\n%s", cmp.Diff(first, now))
	}
}

// eachShape does a test with each load balancer that this program configures.
func eachShape(t *testing.T, test func(*testing.T, ...simulator.Option)) {
	t.Run("nginx", func(t *testing.T) { test(t) })
	t.Run("haproxy", func(t *testing.T) { test(t, simulator.HAProxy) })
}

// TestPhase1KilledOnTheWayBack kills the program at every instant of the way
// back, and goes on back from there, at once and late.
func TestPhase1KilledOnTheWayBack(t *testing.T) { eachShape(t, killedOnTheWayBack) }

func killedOnTheWayBack(t *testing.T, options ...simulator.Option) {
	type instant struct {
		simulator.Point
		left []way
		at   time.Time
	}
	var instants []instant
	var want map[string]string
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, options...)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		if err := o.RunPhase(t.Context(), conformance.PhasesOf(w.Spec, phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		list := waysBack(o, t)
		for i, one := range list {
			w.Watch = func(p simulator.Point) { instants = append(instants, instant{p, list[i:], time.Now()}) }
			if err := one.undo(t.Context(), o.Env); err != nil {
				t.Fatal(err)
			}
		}
		w.Watch = nil
		w.Pass(time.Minute)
		want = takenBackState(w)
	})
	if t.Failed() {
		return
	}
	for n, i := range instants {
		if !conformance.Share(n, 3) {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", n, conformance.Label(i.Op, i.When)), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { goBackFrom(t, i.World, i.left, time.Duration(n%2)*10*time.Minute, want) })
		})
	}
	t.Logf("%d instants of the way back", len(instants))
}

// goBackFrom goes the rest of the way back as a new start of the program, some time
// after its death.
func goBackFrom(t *testing.T, from *simulator.Saved, left []way, later time.Duration, want map[string]string) {
	w := from.World(t)
	defer w.Close()
	env := w.Connect()
	defer env.Close()
	w.Pass(later)
	if _, err := env.Targets(t.Context(), migrate.Workers); err != nil {
		t.Fatal(err)
	}
	for _, one := range left {
		if err := one.undo(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	w.Pass(time.Minute)
	if now := takenBackState(w); !maps.Equal(want, now) {
		t.Errorf("it ends otherwise:\n%s", cmp.Diff(want, now))
	}
	if out := w.Outages()["old address"] + w.Outages()["service"]; out != 0 {
		t.Errorf("no answer for %s", out)
	}
}

// TestPhase1TakenBackFromItsMiddle kills the program at every instant of the
// way there, and goes back from what the journal then says.
func TestPhase1TakenBackFromItsMiddle(t *testing.T) { eachShape(t, takenBackFromItsMiddle) }

func takenBackFromItsMiddle(t *testing.T, options ...simulator.Option) {
	var deaths []conformance.Death
	var start map[string]string
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, options...)
		defer w.Close()
		start = takenBackState(w)
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		w.Watch = func(p simulator.Point) {
			deaths = append(deaths, conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()})
		}
		if err := o.RunPhase(t.Context(), conformance.PhasesOf(w.Spec, phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
	})
	if t.Failed() {
		return
	}
	for n, d := range deaths {
		if !conformance.Share(n, 3) {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", n, conformance.Label(d.Op, d.When)), func(t *testing.T) {
			d.Again(t, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
				if _, err := o.Env.Targets(t.Context(), migrate.Workers); err != nil {
					t.Fatal(err)
				}
				for _, one := range waysBack(o, t) {
					if err := one.undo(t.Context(), o.Env); err != nil {
						t.Fatal(err)
					}
				}
				w.Pass(time.Minute)
				if now := takenBackState(w); !maps.Equal(start, now) {
					t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
				}
			})
		})
	}
	t.Logf("%d instants of the way there", len(deaths))
}
