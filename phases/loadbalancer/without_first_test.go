package loadbalancer_test

import (
	"strings"
	"testing"
	"time"

	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestTheProofEndsAtOnce where the endpoint stops to answer while the first API
// server is out of the load balancers: it is back within seconds, whether who
// connects is refused or hears nothing.
func TestTheProofEndsAtOnce(t *testing.T) {
	for name, cut := range map[string]func(*simulator.World, bool){
		"refused": func(w *simulator.World, on bool) { w.Cut("w2", "lb1", on) },
		"silence": func(w *simulator.World, on bool) { w.Silence("w2", "lb1", on) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(*simulator.World) {}, func(t *testing.T, s conformance.Stage) {
				for _, p := range conformance.AllPhases(phases.InPlace)[:2] {
					if err := s.Operator.RunPhase(s.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
				var out, back time.Time
				s.Watch = func(simulator.Point) {
					conf := s.Machine("lb2").Snapshot()[ownStreamFile].Data
					without := strings.Contains(string(conf), "10.88.0.13:6443") && !strings.Contains(string(conf), "10.88.0.11:6443")
					switch {
					case without && out.IsZero():
						out = time.Now()
						go cut(s.World, true) // the world is locked here
					case !without && !out.IsZero() && back.IsZero():
						back = time.Now()
					}
				}
				err := s.Phase(3, phases.InPlace)
				s.Watch = nil
				if err == nil || !strings.Contains(err.Error(), "from w2") {
					t.Fatalf("got %v", err)
				}
				if took := back.Sub(out); out.IsZero() || back.IsZero() || took > 8*time.Second {
					t.Errorf("the first API server was out for %s", took)
				}
				cut(s.World, false)
				if err := s.Phase(3, phases.InPlace); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestTheProofIsNotBegun where the endpoint leads past the load balancer on a
// node: the first API server stays in it.
func TestTheProofIsNotBegun(t *testing.T) {
	inWorld(t, func(w *simulator.World) { named(w, func(string) string { return "10.88.0.5" }) }, func(t *testing.T, s conformance.Stage) {
		for _, p := range conformance.AllPhases(phases.InPlace)[:2] {
			if err := s.Operator.RunPhase(s.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		s.Script("w2", "echo '10.88.0.11 cluster-endpoint' >/etc/hosts")
		s.Watch = func(simulator.Point) {
			conf := string(s.Machine("lb2").Snapshot()[ownStreamFile].Data)
			if conf != "" && !strings.Contains(conf, "10.88.0.11:6443") {
				t.Error("the first API server was taken out")
			}
		}
		if err := s.Phase(3, phases.InPlace); err == nil || !strings.Contains(err.Error(), "which is cp1") {
			t.Errorf("got %v", err)
		}
		s.Watch = nil
	})
}

// TestAKilledProofIsMendedFirst: it left the first API server out of the load
// balancers, and what the next run finds is no reason to leave it there.
func TestAKilledProofIsMendedFirst(t *testing.T) {
	conformance.Long(t)
	inWorld(t, func(w *simulator.World) { named(w, func(string) string { return "10.88.0.5" }) }, func(t *testing.T, s conformance.Stage) {
		for _, p := range conformance.AllPhases(phases.InPlace)[:2] {
			if err := s.Operator.RunPhase(s.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		s.Script("w2", "echo '10.88.0.11 cluster-endpoint' >/etc/hosts")
		if err := s.Phase(3, phases.InPlace); err == nil { // but for the proof, all is done
			t.Fatal("a name that leads past the load balancer was not seen")
		}
		s.Script("lb2", "sed -i '/server 10.88.0.11:6443/d' "+ownStreamFile+"\nsystemctl reload nginx\n")
		if err := s.Phase(3, phases.InPlace); err == nil || !strings.Contains(err.Error(), "which is cp1") {
			t.Errorf("got %v", err)
		}
		if conf := string(s.Machine("lb2").Snapshot()[ownStreamFile].Data); !strings.Contains(conf, "10.88.0.11:6443") {
			t.Errorf("the first API server is still out of lb2:\n%s", conf)
		}
	})
}
