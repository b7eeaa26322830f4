package loadbalancer_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// translated lets the load balancers see no node's own addresses and ports.
func translated(w *simulator.World) {
	for _, n := range []string{"cp1", "w1", "w2"} {
		w.Hardware(n, func(h *simulator.Hardware) { h.Behind = "10.88.0.1" })
	}
}

// TestCountsAmongOthers: several looks at once count one after the other, others
// who come and go do not spoil the proof, and it takes seconds for all nodes.
func TestCountsAmongOthers(t *testing.T) {
	inWorld(t, translated, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() { // a client that comes and goes with three connections
			defer close(ended)
			var open []net.Conn
			for {
				for _, c := range open {
					c.Close()
				}
				open = nil
				select {
				case <-stop:
					return
				case <-time.After(700 * time.Millisecond):
				}
				for range 3 {
					c, err := s.Machine("w2").DialContext(s.Context(), "tcp", "10.88.0.5:6443")
					if err != nil {
						t.Error(err)
						continue
					}
					open = append(open, c)
				}
				time.Sleep(400 * time.Millisecond)
			}
		}()
		began := time.Now()
		all := [][]string{{"cp1", "w1", "w2"}, {"cp1"}, {"w1"}, {"w2"}}
		err := parallel.Each(all, func(_ int, nodes []string) error {
			return balancer.Carried(s.Context(), s.Env.Reader("cp1"), nodes)
		})
		if err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("four looks took %s", took)
		}
		close(stop)
		<-ended
	})
}

// TestCountsFindTheOneNode whose connections go to a machine that is none of the
// spec's load balancers, among others whose do not.
func TestCountsFindTheOneNode(t *testing.T) {
	inWorld(t, func(w *simulator.World) {
		translated(w)
		named(w, func(string) string { return "10.88.0.5" })
	}, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Spec.LoadBalancer.Hosts = []cluster.Host{{Name: "lb1", Address: "10.88.0.5"}}
		s.Script("w2", "echo '10.88.0.6 cluster-endpoint' >/etc/hosts")
		env := s.Connect()
		defer env.Close()
		if _, err := env.Targets(s.Context(), migrate.Workers); err != nil {
			t.Fatal(err)
		}
		err := balancer.Carried(s.Context(), env.Reader("cp1"), []string{"cp1", "w1", "w2"})
		if err == nil || !strings.Contains(err.Error(), "connections from w2 ") || !strings.Contains(err.Error(), "10.88.0.6") {
			t.Errorf("got %v", err)
		}
	})
}

// TestCountsInGroups: many nodes at once do not take all connections that nginx
// has. Here they are three, and each is there many times.
func TestCountsInGroups(t *testing.T) {
	inWorld(t, translated, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Script("lb1", "sed 's/worker_connections [0-9]*;//' /etc/nginx/nginx.conf >/tmp/n; cp /tmp/n /etc/nginx/nginx.conf; systemctl reload nginx") // 512 are left
		if err := balancer.Carried(s.Context(), s.Env.Reader("cp1"), slices.Repeat([]string{"cp1", "w1", "w2"}, 22)); err != nil {
			t.Error(err)
		}
	})
}

// TestChecksOfManyNodes that begin at the same time come to an end in the time
// that each of them has, and each gets its own answer.
func TestChecksOfManyNodes(t *testing.T) {
	inWorld(t, func(w *simulator.World) {
		translated(w)
		named(w, func(string) string { return "10.88.0.5" })
		w.Hardware("lb1", func(h *simulator.Hardware) { h.Sockets = time.Second })
	}, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		s.Script("w2", "echo '10.88.0.11 cluster-endpoint' >/etc/hosts")
		began := time.Now()
		_ = parallel.Each(slices.Repeat([]string{"cp1", "w1", "w2"}, 8), func(i int, node string) error {
			ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
			defer cancel()
			err := balancer.CarriedHere(ctx, s.Env.Reader(node))
			if astray := err != nil && strings.Contains(err.Error(), "from w2, ") && strings.Contains(err.Error(), "which is cp1"); astray != (node == "w2") || err != nil && !astray {
				t.Errorf("from %s after %s: %v", node, time.Since(began), err)
			}
			return nil
		})
	})
}
