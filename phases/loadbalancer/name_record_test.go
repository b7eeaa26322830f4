package loadbalancer_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

const nameFile = "/var/lib/migrate/endpoint-name.json"

// meantOnce plays in a cluster whose endpoint's name meant this address, which
// leads to the first node by what it is made of.
func meantOnce(t *testing.T, address string, first func(*simulator.Hardware), play func(*testing.T, conformance.Stage)) {
	t.Helper()
	madeFor(t, play, simulator.NameMeans(address), simulator.Arranged(func(w *simulator.World) { w.Hardware("cp1", first) }))
}

// renamed lets the name mean something else on every node of before.
func renamed(s conformance.Stage, from, to string) {
	s.T.Helper()
	for _, n := range []string{"cp1", "w1", "w2"} {
		s.Script(n, "sed -i -e 's/^"+strings.ReplaceAll(from, ".", `\.`)+" /"+to+" /' /etc/hosts")
	}
}

// movedByName runs phase 1; the name means the load balancer when that listens.
// Where nobody can know that the old meaning is not the load balancer's, nobody is
// asked, and the proof stops the run.
func movedByName(s conformance.Stage, from string) {
	s.T.Helper()
	s.Env.UseAsk(func(string) { time.AfterFunc(20*time.Second, func() { renamed(s, from, "10.88.0.5") }) }, 0)
	err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0])
	if err != nil && strings.Contains(err.Error(), "are not seen on lb1, lb2") {
		renamed(s, from, "10.88.0.5")
		err = s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0])
	}
	if err != nil {
		s.Fatal(err)
	}
}

// TestTheNameGetsBackAnAddressThatNoNodeLists: the exact old meaning is the one
// that is asked for and taken.
func TestTheNameGetsBackAnAddressThatNoNodeLists(t *testing.T) {
	conformance.Long(t)
	for address, first := range map[string]func(*simulator.Hardware){
		"192.168.7.11": func(h *simulator.Hardware) { h.Addresses = []string{"192.168.7.11"} },
		"203.0.113.11": func(h *simulator.Hardware) { h.Outside = []string{"203.0.113.11"} },
	} {
		t.Run(address, func(t *testing.T) {
			meantOnce(t, address, first, func(t *testing.T, s conformance.Stage) {
				start := takenBackState(s.World)
				movedByName(s, address)
				var asked []string
				s.Env.UseAsk(obey(s, &asked), 0)
				if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if len(asked) != 1 || !strings.Contains(asked[0], "cp1 ("+address+") again") || !strings.Contains(asked[0], "on w2: sed -i") {
					t.Errorf("asked %q", asked)
				}
				s.Pass(time.Minute)
				if now := takenBackState(s.World); !maps.Equal(start, now) {
					t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
				}
				if _, left := s.State()["cp1 "+nameFile]; left {
					t.Error("the record is still there")
				}
			})
		})
	}
}

// TestTheOldAddressLeadsToTheBalancer: somebody has moved the address instead of
// the name. The load balancer stays until the address leads where it led.
func TestTheOldAddressLeadsToTheBalancer(t *testing.T) {
	conformance.Long(t)
	const address = "203.0.113.11"
	lead := func(s conformance.Stage, from, to string) {
		s.Hardware(from, func(h *simulator.Hardware) { h.Outside = nil })
		s.Hardware(to, func(h *simulator.Hardware) { h.Outside = []string{address} })
	}
	meantOnce(t, address, func(h *simulator.Hardware) { h.Outside = []string{address} }, func(t *testing.T, s conformance.Stage) {
		movedByName(s, address)
		lead(s, "cp1", "lb1")
		renamed(s, "10.88.0.5", address)
		s.Env.UseAsk(nil, time.Minute)
		err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0])
		if err == nil || !strings.Contains(err.Error(), "go through a load balancer") || !strings.Contains(err.Error(), "\n  migrate rollback --phase 1") {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(s.State()["lb1 nginx"], "10.88.0.11:6443") {
			t.Error("the load balancer is gone")
		}
		lead(s, "lb1", "cp1")
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
	})
}

// TestASecondBalancerComesLater, when the name means the first one: what named the
// endpoint before phase 1 is kept by both.
func TestASecondBalancerComesLater(t *testing.T) {
	for name, alone := range map[string]bool{"all that kubeadm writes": false, "workers' files alone": true} {
		t.Run(name, func(t *testing.T) {
			madeFor(t, func(t *testing.T, s conformance.Stage) {
				if alone {
					othersNameTheNode(s)
				}
				start := takenBackState(s.World)
				both := s.Spec.LoadBalancer.Hosts
				var asked []string
				s.Spec.LoadBalancer.Hosts = both[:1]
				for i := range both {
					s.Spec.LoadBalancer.Hosts = both[:i+1]
					s.Operator.Close()
					*s.Operator = *conformance.NewOperator(s.T, s.World, s.Operator.Path)
					s.Env.UseAsk(obey(s, &asked), 0)
					if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
						t.Fatal(err)
					}
				}
				if !strings.Contains(s.State()["lb2 nginx"], "10.88.0.11:6443") || !strings.Contains(s.State()["cp1 "+nameFile], "w1:/etc/kubernetes/kubelet.conf") {
					t.Errorf("lb2 has %s, the record is %s", s.State()["lb2 nginx"], s.State()["cp1 "+nameFile])
				}
				if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				s.Pass(time.Minute)
				if now := takenBackState(s.World); !maps.Equal(start, now) {
					t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
				}
			})
		})
	}
}

// othersNameTheNode leaves the endpoint's name to the workers' files.
func othersNameTheNode(s conformance.Stage) {
	s.T.Helper()
	const from, to = "https://cluster-endpoint:6443", "https://10.88.0.11:6443"
	for _, file := range []string{"admin.conf", "super-admin.conf"} {
		if err := hostfiles.SetKubeconfigServer(s.Context(), s.Env.Writer("cp1").On("cp1"), "/etc/kubernetes/"+file, to); err != nil {
			s.Fatal(err)
		}
	}
	k, err := s.Env.Writer(migrate.ClusterTarget).Kube(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, at := range []struct{ namespace, name, key string }{{"kube-public", "cluster-info", "kubeconfig"}, {"kube-system", "kube-proxy", "kubeconfig.conf"}} {
		err := k.EditConfigMap(s.Context(), at.namespace, at.name, func(data map[string]string) error {
			data[at.key] = strings.ReplaceAll(data[at.key], from, to)
			return nil
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	if err := k.AnnotateDaemonSetPods(s.Context(), "kube-system", "kube-proxy", "example.com/rolled-out", "now"); err != nil {
		s.Fatal(err)
	}
	s.Pass(5 * time.Minute)
}

// TestTheJournalAloneKnowsTheOldName: a run of an earlier version has left no
// record, and what the journal says of each load balancer is enough.
func TestTheJournalAloneKnowsTheOldName(t *testing.T) {
	madeFor(t, func(t *testing.T, s conformance.Stage) {
		start := takenBackState(s.World)
		var asked []string
		s.Env.UseAsk(obey(s, &asked), 0)
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Script("cp1", "rm "+nameFile)
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Pass(time.Minute)
		if now := takenBackState(s.World); !maps.Equal(start, now) {
			t.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
		}
	})
}
