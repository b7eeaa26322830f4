// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package loadbalancer_test

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// owner is whoever configures the load balancer: does what is asked, after a
// while, and remembers what that was.
type owner struct {
	world    *simulator.World
	backends []string
	asked    []string
	deaf     bool
}

func (o *owner) ask(what string) {
	o.asked = append(o.asked, what)
	if o.deaf {
		return
	}
	word, rest, _ := strings.Cut(what, " ")
	address, _, _ := strings.Cut(rest, " ")
	switch word {
	case "Add":
		o.backends = append(o.backends, address)
	case "Take":
		for i, b := range o.backends {
			if b == address {
				o.backends = append(o.backends[:i:i], o.backends[i+1:]...)
			}
		}
	}
	list := o.backends
	time.AfterFunc(3*time.Minute, func() { o.world.SetBackends(list...) })
}

func external(t *testing.T, test func(*testing.T, *conformance.Operator, *owner), options ...simulator.Option) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, append(options, simulator.ExternalBalancer)...)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		lb := &owner{world: w, backends: []string{"10.88.0.11:6443"}}
		o.Env.UseAsk(lb.ask, 0)
		test(t, o, lb)
	})
}

// TestExternalLoadBalancer goes forward and back with a load balancer on which
// nobody logs in: what its owner has to do is asked for once each, and nothing
// goes on before it is done.
func TestExternalLoadBalancer(t *testing.T) {
	external(t, func(t *testing.T, o *conformance.Operator, lb *owner) {
		all := conformance.AllPhases(phases.InPlace)
		for _, p := range all {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatalf("%v; never may be: %q", err, o.World.Broken())
			}
		}
		if len(lb.asked) != 2 || !strings.HasPrefix(lb.asked[0], "Add 10.88.0.12:6443 ") || !strings.HasPrefix(lb.asked[1], "Add 10.88.0.13:6443 ") || !strings.Contains(lb.asked[0], "HTTPS GET /readyz") {
			t.Errorf("asked for %q", lb.asked)
		}
		for what := range o.World.State() {
			if strings.HasPrefix(what, "lb2 ") && strings.Contains(what, "migrate") {
				t.Errorf("%s was made", what)
			}
		}
		records, err := o.Journal.Records(1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if strings.Contains(r.Step, "nginx") {
				t.Errorf("%s on %s was %s", r.Step, r.Target, r.Status)
			}
		}

		lb.asked = nil
		r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: o.World.Spec.Fingerprint}
		if err := r.Rollback(t.Context(), all[2]); err != nil {
			t.Fatal(err)
		}
		if len(lb.asked) != 2 || !strings.HasPrefix(lb.asked[0], "Take 10.88.0.13:6443 ") || !strings.HasPrefix(lb.asked[1], "Take 10.88.0.12:6443 ") {
			t.Errorf("asked for %q", lb.asked)
		}
		if broken := o.World.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

// TestExternalNameGetsItsOldMeaningBack: the cluster named the endpoint before
// phase 1, and its owner has let the name mean the load balancer. On the way back
// the kubelets are seen to be at the first API server again.
func TestExternalNameGetsItsOldMeaningBack(t *testing.T) {
	external(t, func(t *testing.T, o *conformance.Operator, _ *owner) {
		s := conformance.Stage{T: t, World: o.World, Operator: o}
		start := takenBackState(o.World)
		for _, n := range []string{"cp1", "w1", "w2"} {
			s.Script(n, "echo '10.88.0.5 cluster-endpoint' >/etc/hosts")
		}
		if err := o.RunPhase(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		var asked []string
		o.Env.UseAsk(obey(s, &asked), 0)
		began := time.Now()
		if err := o.Rollback(t.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Minute || len(asked) != 1 {
			t.Errorf("it took %s, and asked %q", took, asked)
		}
		o.World.Pass(time.Minute)
		if now := takenBackState(o.World); !maps.Equal(start, now) {
			t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
		}
	}, simulator.MadeFor("cluster-endpoint:6443"))
}

// TestExternalLoadBalancerOfAnother: an endpoint that leads nowhere blocks
// phase 1 before anything is changed.
func TestExternalLoadBalancerLeadsNowhere(t *testing.T) {
	external(t, func(t *testing.T, o *conformance.Operator, _ *owner) {
		o.World.SetBackends("10.88.0.99:6443")
		entries, err := migrate.Plan(t.Context(), o.Env, conformance.AllPhases(phases.InPlace)[0], o.Journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Step != "loadbalancer/endpoint" {
				continue
			}
			if e.Finding.Verdict != migrate.Blocked || !strings.Contains(e.Finding.Reason, "10.88.0.5:6443 does not lead to this cluster's API server") || !strings.Contains(e.Finding.Remedy, "10.88.0.11:6443") {
				t.Errorf("found %+v", e.Finding)
			}
			return
		}
		t.Error("the step is not in the plan")
	})
}

// TestNobodyAddsTheBackend: the wait ends, says for what, and a run after it
// goes on from there.
func TestNobodyAddsTheBackend(t *testing.T) {
	external(t, func(t *testing.T, o *conformance.Operator, lb *owner) {
		all := conformance.AllPhases(phases.InPlace)
		for _, p := range all[:2] {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		lb.deaf = true
		o.Env.UseAsk(lb.ask, 10*time.Minute)
		began := time.Now()
		err := o.RunPhase(t.Context(), controlplane.Phase())
		var step *migrate.StepError
		if !errors.As(err, &step) || step.Op != migrate.OpApply || !strings.Contains(err.Error(), "10.88.0.12:6443") || !strings.Contains(err.Error(), "--wait-backend") {
			t.Fatalf("got %v", err)
		}
		if waited := time.Since(began); waited < 10*time.Minute || waited > 20*time.Minute {
			t.Errorf("it waited for %s", waited)
		}
		lb.deaf = false
		if err := o.RunPhase(t.Context(), controlplane.Phase()); err != nil {
			t.Fatal(err)
		}
		if rec, err := o.Journal.Record(state.Key{Phase: 3, Step: "controlplane/backend", Target: "cp3"}); err != nil || rec.Status != state.Verified {
			t.Errorf("cp3's backend is %s, %v", rec.Status, err)
		}
	})
}

// TestBackendThatShowsNothing: a connection that fails is no proof that nobody
// is sent to an API server. Without a process it is, and the owner is told.
func TestBackendThatShowsNothing(t *testing.T) {
	conformance.Long(t)
	external(t, func(t *testing.T, o *conformance.Operator, lb *owner) {
		for _, p := range conformance.AllPhases(phases.InPlace) {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		undo := func(step migrate.StepID) error {
			lb.asked = nil
			for _, s := range controlplane.Phase().Steps {
				if s.ID == step {
					return s.Undo(t.Context(), o.Env.Writer("cp3"), nil)
				}
			}
			return errors.New("there is no step " + string(step))
		}
		cp3 := func(script string) {
			t.Helper()
			if err := o.World.Root("cp3", script); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}

		o.World.Cut("cp3", "cp3", true)
		for _, step := range []migrate.StepID{"controlplane/backend", "controlplane/join"} {
			if err := undo(step); err == nil || !strings.Contains(err.Error(), "seeing whether clients are sent to the API server of cp3") || len(lb.asked) > 0 {
				t.Errorf("%s of a process that can't be asked: %v; asked for %q", step, err, lb.asked)
			}
		}
		o.World.Cut("cp3", "cp3", false)

		lb.deaf = true
		cp3("mv /etc/kubernetes/manifests/kube-apiserver.yaml /kube-apiserver.yaml")
		if err := undo("controlplane/backend"); err != nil || len(lb.asked) != 1 || !strings.HasPrefix(lb.asked[0], "Take 10.88.0.13:6443 ") || !strings.Contains(lb.asked[0], "No API server runs on cp3") {
			t.Errorf("without a process: %v; asked for %q", err, lb.asked)
		}

		// It comes back before its node leaves, and nobody has done what was asked.
		cp3("mv /kube-apiserver.yaml /etc/kubernetes/manifests/kube-apiserver.yaml")
		if err := undo("controlplane/join"); err == nil || !strings.Contains(err.Error(), "still sends clients to 10.88.0.13:6443: take that out of the load balancer's backends") {
			t.Errorf("back behind the endpoint: %v", err)
		}
		lb.deaf = false
		lb.ask("Take 10.88.0.13:6443 ")
		time.Sleep(5 * time.Minute)
		if err := undo("controlplane/join"); err != nil {
			t.Errorf("taken out by hand: %v", err)
		}
	})
}
