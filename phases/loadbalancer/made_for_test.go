package loadbalancer_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// madeFor plays in a cluster that was made with the endpoint's name, which means
// the first control-plane node.
func madeFor(t *testing.T, play func(*testing.T, conformance.Stage), options ...simulator.Option) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, append([]simulator.Option{simulator.MadeFor("cluster-endpoint:6443")}, options...)...)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer func() { o.Close() }()
		play(t, conformance.Stage{T: t, World: w, Operator: o})
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

// obey does with /etc/hosts what a question says, with its own lines, after a
// while.
func obey(s conformance.Stage, asked *[]string) func(string) {
	return func(what string) {
		*asked = append(*asked, what)
		time.AfterFunc(20*time.Second, func() {
			for line := range strings.Lines(what) {
				if node, command, is := strings.Cut(strings.TrimPrefix(line, "  on "), ": "); is && strings.HasPrefix(line, "  on ") {
					s.Script(node, command)
				}
			}
		})
	}
}

// TestTheNameGetsItsOldMeaningBack: what named the endpoint before phase 1 names
// it afterwards, and leads where it led. The kube-proxies start when the name has
// its old meaning: they keep the /etc/hosts that they were started with.
func TestTheNameGetsItsOldMeaningBack(t *testing.T) {
	madeFor(t, func(t *testing.T, s conformance.Stage) {
		start := takenBackState(s.World)
		var asked []string
		s.Env.UseAsk(obey(s, &asked), 0)
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		if len(asked) != 1 || !strings.Contains(asked[0], "10.88.0.5 cluster-endpoint") {
			t.Fatalf("asked %q", asked)
		}
		asked = nil
		rolled := ""
		tell := obey(s, &asked)
		s.Env.UseAsk(func(what string) {
			rolled = s.State()["roll-outs"]
			tell(what)
		}, 0)
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		if len(asked) != 1 || !strings.Contains(asked[0], "cp1 (10.88.0.11) again") || !strings.Contains(asked[0], "on w2: sed -i") {
			t.Errorf("asked %q", asked)
		}
		s.Pass(time.Minute)
		if s.State()["roll-outs"] == rolled {
			t.Error("the kube-proxies were started before the name had its old meaning")
		}
		if now := takenBackState(s.World); !maps.Equal(start, now) {
			t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
		}
		s.Script("lb1", "systemctl stop nginx")
		s.Script("lb2", "systemctl stop nginx")
		s.Pass(2 * time.Minute)
		for _, path := range []string{"old address", "service", "endpoint"} {
			if out := s.Outages()[path]; out != 0 {
				t.Errorf("%s: no answer for %s", path, out)
			}
		}
		nodes, err := s.Env.Reader("cp1").Nodes(s.Context())
		if err != nil || !kube.Ready(nodes["w1"]) || !kube.Ready(nodes["w2"]) {
			t.Errorf("the workers are not Ready without load balancers (%v)", err)
		}
	})
}

// TestKilledOnTheWayBackOfTheName: from any instant of it the next rollback comes
// to the same end.
func TestKilledOnTheWayBackOfTheName(t *testing.T) {
	var deaths []conformance.Death
	var want map[string]string
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.MadeFor("cluster-endpoint:6443"))
		defer w.Close()
		want = takenBackState(w)
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		var asked []string
		o.Env.UseAsk(obey(conformance.Stage{T: t, World: w, Operator: o}, &asked), 0)
		if err := o.RunPhase(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		w.Watch = func(p simulator.Point) {
			deaths = append(deaths, conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()})
		}
		if err := o.Rollback(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
	})
	for n, d := range deaths {
		if !conformance.Share(n, 4) {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", n, conformance.Label(d.Op, d.When)), func(t *testing.T) {
			d.Again(t, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
				var asked []string
				o.Env.UseAsk(obey(conformance.Stage{T: t, World: w, Operator: o}, &asked), 0)
				if err := o.Rollback(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				w.Pass(time.Minute)
				if now := takenBackState(w); !maps.Equal(want, now) {
					t.Errorf("it ends otherwise:\n%s", cmp.Diff(want, now))
				}
			})
		})
	}
}

// TestNobodyGivesTheNameItsOldMeaning: the way back ends in an error with the
// next command, and the load balancer goes on passing the API through. A stop
// ends the wait at once.
func TestNobodyGivesTheNameItsOldMeaning(t *testing.T) {
	madeFor(t, func(t *testing.T, s conformance.Stage) {
		var asked []string
		s.Env.UseAsk(obey(s, &asked), 0)
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Env.UseAsk(nil, time.Minute)
		err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0])
		if err == nil || !strings.Contains(err.Error(), "cluster-endpoint means 10.88.0.5") || !strings.Contains(err.Error(), "\n  migrate rollback --phase 1") {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(s.State()["lb1 nginx"], "10.88.0.11:6443") {
			t.Error("the load balancer is gone")
		}
		stop := make(chan struct{})
		s.Env.UseStop(stop)
		s.Env.UseAsk(func(string) { time.AfterFunc(10*time.Second, func() { close(stop) }) }, 0)
		began := time.Now()
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); !errors.Is(err, migrate.ErrStopped) {
			t.Errorf("asked to stop, it ended with %v", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		s.Env.UseStop(nil)
		s.Env.UseAsk(obey(s, &asked), 0)
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
	})
}
