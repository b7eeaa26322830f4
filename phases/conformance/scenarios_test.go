package conformance_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestUnhealthyCluster: nothing is begun, nor gone on with, while an invariant
// does not hold.
func TestUnhealthyCluster(t *testing.T) {
	tests := []struct {
		name, host, script string
		phase              int
		words              []string
	}{
		{"a node is lost between two phases", "w2", "systemctl stop kubelet", 2, nil},
		{"a voter is down", "e2", "systemctl stop etcd", 3, []string{"e2"}},
		{"no API server", "cp1", "mv /etc/kubernetes/manifests/kube-apiserver.yaml /kube-apiserver.yaml", 1, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conformance.On(t, test.phase-1, phases.Overlap, func(s conformance.Stage) {
				s.Script(test.host, test.script)
				s.Pass(2 * time.Minute)
				ops := len(s.Faults.Ops())
				err := s.Phase(test.phase, phases.Overlap)
				if test.host == "w2" {
					// A node that was down before the program started is not
					// lost by it, and does not hold up what needs no worker.
					if err != nil {
						s.Errorf("got %v", err)
					}
					return
				}
				if err == nil {
					s.Fatal("the phase ran")
				}
				for _, word := range test.words {
					if !strings.Contains(err.Error(), word) {
						s.Errorf("%q is not in: %v", word, err)
					}
				}
				if now := s.Faults.Ops(); len(now) != ops {
					s.Errorf("it made changes: %q", now[ops:])
				}
			})
		})
	}
}

// TestTheNodeHelpsItself: the new API server can't reach the new members, and
// the operator is gone. The timer on the node puts the old manifest back.
func TestTheNodeHelpsItself(t *testing.T) {
	conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
		gone := errors.New("the operator is gone")
		s.Watch = func(p simulator.Point) {
			if strings.HasSuffix(p.Op, "write /etc/kubernetes/manifests/kube-apiserver.yaml") && p.When == 1 {
				p.World = nil
				panic(gone)
			}
		}
		func() {
			defer func() {
				if r := recover(); r != gone {
					s.Errorf("got %v", r)
				}
			}()
			_ = s.Phase(2, phases.InPlace)
		}()
		s.Watch = nil
		for _, e := range []string{"e1", "e2", "e3"} {
			s.Cut("cp1", e, true)
		}
		s.Pass(2 * time.Minute)
		if err := s.Root("w1", "curl -sk -m 10 -o /dev/null -w '%{http_code}' https://10.88.0.11:6443/readyz | grep -q 200"); err == nil {
			s.Fatal("the API server reached members that it can't reach")
		}
		s.Pass(10 * time.Minute)
		s.Script("w1", "curl -sk -m 10 -o /dev/null -w '%{http_code}' https://10.88.0.11:6443/readyz | grep -q 200")
		for _, e := range []string{"e1", "e2", "e3"} {
			s.Cut("cp1", e, false)
		}
		if err := s.Phase(2, phases.InPlace); err != nil {
			s.Errorf("when the network is back: %v", err)
		}
	})
}
