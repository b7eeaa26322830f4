package etcd_test

import (
	"errors"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

func TestKubeadmsOwnShape(t *testing.T) {
	conformance.On(t, 3, phases.Overlap, func(s conformance.Stage) {
		for _, op := range s.Faults.Ops() {
			if strings.Contains(op, "relay") || strings.Contains(op, "update member") {
				s.Errorf("the old member needs no %q", op)
			}
		}
	}, simulator.EtcdOnHostAddress)
}

// TestForeignData: what lies in a new member's folder is neither joined to
// this cluster nor wiped.
func TestForeignData(t *testing.T) {
	conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
		s.Script("e2", "mkdir -p /var/lib/etcd-external/member/snap; echo 'of another cluster' > /var/lib/etcd-external/member/snap/db")
		err := s.Phase(2, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "e2" {
			s.Fatalf("got %v", err)
		}
		if got := s.State()["e2 /var/lib/etcd-external/member/snap/db"]; !strings.Contains(got, "of another cluster") {
			s.Errorf("the data is %q", got)
		}
		if etcd := s.State()["etcd"]; strings.Contains(etcd, "10.88.0.22") {
			s.Errorf("e2 is a member: %s", etcd)
		}
	})
}

// TestAlarm: an etcd that takes no writes is not grown.
func TestAlarm(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		s.Alarm("NOSPACE")
		s.Blocked(2, "NOSPACE")
		s.Alarm("")
		if err := s.Phase(2, phases.Overlap); err != nil {
			s.Error(err)
		}
	})
}
