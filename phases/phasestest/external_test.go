package phasestest_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

// owner is whoever configures the load balancer: does what is asked, after a
// while, and remembers what that was.
type owner struct {
	world    *phasestest.World
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

func external(t *testing.T, test func(*testing.T, *operator, *owner)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := phasestest.New(t, phasestest.ExternalBalancer)
		defer w.Close()
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.close()
		lb := &owner{world: w, backends: []string{"10.88.0.11:6443"}}
		o.env.UseAsk(lb.ask, 0)
		test(t, o, lb)
	})
}

// TestExternalLoadBalancer goes forward and back with a load balancer on which
// nobody logs in: what its owner has to do is asked for once each, and nothing
// goes on before it is done.
func TestExternalLoadBalancer(t *testing.T) {
	external(t, func(t *testing.T, o *operator, lb *owner) {
		all := allPhases(phases.InPlace)
		for _, p := range all {
			if err := o.run(t.Context(), p); err != nil {
				t.Fatalf("%v; never may be: %q", err, o.world.Broken())
			}
		}
		if len(lb.asked) != 2 || !strings.HasPrefix(lb.asked[0], "Add 10.88.0.12:6443 ") || !strings.HasPrefix(lb.asked[1], "Add 10.88.0.13:6443 ") || !strings.Contains(lb.asked[0], "HTTPS GET /readyz") {
			t.Errorf("asked for %q", lb.asked)
		}
		for what := range o.world.State() {
			if strings.HasPrefix(what, "lb2 ") && strings.Contains(what, "migrate") {
				t.Errorf("%s was made", what)
			}
		}
		records, err := o.journal.Records(1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if strings.Contains(r.Step, "nginx") {
				t.Errorf("%s on %s was %s", r.Step, r.Target, r.Status)
			}
		}

		lb.asked = nil
		r := migrate.Runner[phases.View, phases.Hands]{Env: o.env, Journal: o.journal, Spec: o.world.Spec.Fingerprint}
		if err := r.Rollback(t.Context(), all[2]); err != nil {
			t.Fatal(err)
		}
		if len(lb.asked) != 2 || !strings.HasPrefix(lb.asked[0], "Take 10.88.0.13:6443 ") || !strings.HasPrefix(lb.asked[1], "Take 10.88.0.12:6443 ") {
			t.Errorf("asked for %q", lb.asked)
		}
		if broken := o.world.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

// TestExternalLoadBalancerOfAnother: an endpoint that leads nowhere blocks
// phase 1 before anything is changed.
func TestExternalLoadBalancerLeadsNowhere(t *testing.T) {
	external(t, func(t *testing.T, o *operator, _ *owner) {
		o.world.SetBackends("10.88.0.99:6443")
		entries, err := migrate.Plan(t.Context(), o.env, allPhases(phases.InPlace)[0], o.journal)
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
	external(t, func(t *testing.T, o *operator, lb *owner) {
		all := allPhases(phases.InPlace)
		for _, p := range all[:2] {
			if err := o.run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		lb.deaf = true
		o.env.UseAsk(lb.ask, 10*time.Minute)
		began := time.Now()
		err := o.run(t.Context(), controlplane.Phase())
		var step *migrate.StepError
		if !errors.As(err, &step) || step.Op != migrate.OpApply || !strings.Contains(err.Error(), "10.88.0.12:6443") || !strings.Contains(err.Error(), "--wait-backend") {
			t.Fatalf("got %v", err)
		}
		if waited := time.Since(began); waited < 10*time.Minute || waited > 20*time.Minute {
			t.Errorf("it waited for %s", waited)
		}
		lb.deaf = false
		if err := o.run(t.Context(), controlplane.Phase()); err != nil {
			t.Fatal(err)
		}
		if rec, err := o.journal.Record(state.Key{Phase: 3, Step: "controlplane/backend", Target: "cp3"}); err != nil || rec.Status != state.Verified {
			t.Errorf("cp3's backend is %s, %v", rec.Status, err)
		}
	})
}
