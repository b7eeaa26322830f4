package etcd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/consumers"
	"hamigrate/phases/simulator"
)

// metricsOpen opens the old member's metrics as people do for Prometheus.
func metricsOpen(s conformance.Stage, urls string) {
	s.Script("cp1", `sed 's#^    - --listen-metrics-urls=.*#    - --listen-metrics-urls=`+urls+`#' `+etcdManifest+` > /tmp/new; cp /tmp/new `+etcdManifest)
	s.Pass(3 * time.Minute)
}

// TestEtcdOfOtherPeople: disks of their own with a lost+found, or a folder of the
// same disk that is bound to the data's place, and metrics that
// Prometheus scrapes. The phase is done, undone, and done again; the
// mount points and what is others' stay, and the metrics' listeners move along.
func TestEtcdOfOtherPeople(t *testing.T) {
	for name, options := range map[string][]simulator.Option{"localhost": nil, "host address": {simulator.EtcdOnHostAddress}} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				const data, unit = "/var/lib/etcd-external", "e1 /etc/systemd/system/etcd.service"
				s.World.Mount("e1", data, "ext4", "rw,relatime")
				s.World.Mount("cp1", "/var/lib/etcd", map[string]string{"localhost": "ext4", "host address": "bind"}[name], "rw,relatime")
				s.Script("e2", "install -d -m 0700 -o root -g root "+data+" "+data+"/lost+found; echo note > "+data+"/README")
				metricsOpen(s, "http://127.0.0.1:2381,http://10.88.0.11:2381")
				before := s.State()
				p := conformance.AllPhases(phases.Overlap)[1]
				if err := s.Operator.RunPhase(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				s.Pass(time.Minute)
				end := s.State()
				if !strings.Contains(end[unit], "--listen-metrics-urls=http://127.0.0.1:2381,http://10.88.0.21:2381 ") {
					s.Errorf("e1 is scraped nowhere:\n%s", end[unit])
				}
				if _, there := end["cp1 /var/lib/etcd/migrate-archive/member/snap/db"]; !there {
					s.Error("the old data was not archived on its disk")
				}
				if err := s.Rollback(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				back := withoutPhase2(s.State())
				for file := range back {
					if strings.HasPrefix(file, "cp1 /var/lib/etcd/migrate-archive") {
						delete(back, file)
					}
				}
				if diff := cmp.Diff(withoutPhase2(before), back); diff != "" {
					s.Errorf("undone, not all is as it was:\n%s", diff)
				}
				if err := s.Operator.RunPhase(s.Context(), p); err != nil {
					s.Fatalf("done again: %v", err)
				}
			}, options...)
		})
	}
}

// TestRescueFlagStopsThePhase: also where preflight was told to let it pass.
func TestRescueFlagStopsThePhase(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		s.Script("cp1", `sed 's#^    - --name=cp1#    - --force-new-cluster=true~    - --name=cp1#' `+etcdManifest+` | tr '~' '\n' > /tmp/new; cp /tmp/new `+etcdManifest)
		s.Pass(3 * time.Minute)
		s.Blocked(2, "--force-new-cluster is set in "+etcdManifest)
	})
}

// TestRemovalNamesOthers: the plan of the removal says who else uses the old
// member, and what there is instead.
func TestRemovalNamesOthers(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		metricsOpen(s, "http://0.0.0.0:2381")
		s.Script("cp1", "mkdir -p /etc/cron.d; echo '0 3 * * * root etcdctl snapshot save /x' > /etc/cron.d/backup")
		f, err := conformance.StepOf(conformance.AllPhases(phases.Overlap)[1], "etcd/remove-member").Check(s.Context(), s.Operator.Env.Reader("cp1"))
		if err != nil || f.Verdict != migrate.Needed {
			s.Fatal(f, err)
		}
		for _, want := range []string{"http://10.88.0.11:2381 (metrics)", "cp1:/etc/cron.d/backup",
			"http://10.88.0.21:2381 (metrics)", "http://10.88.0.23:2381 (metrics)", "https://10.88.0.22:2379"} {
			if !strings.Contains(f.Reason, want) {
				s.Errorf("%q is not in:\n%s", want, f.Reason)
			}
		}
		// What is compared with a saved plan is what the step itself changes.
		if len(f.Changes) != 1 || f.Changes[0].Object != "etcd: members" {
			s.Errorf("others' objects are told as changes of the step: %+v", f.Changes)
		}
	})
}

// TestRemovalWaitsForNobody: who else uses the old member is looked at for ten
// seconds, once, and what was not seen is said; the step is needed all the same.
func TestRemovalWaitsForNobody(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		s.Script("cp1", "mkdir -p /opt/nfs")
		s.Hardware("cp1", func(h *simulator.Hardware) { h.Hangs = []string{"/opt/nfs"} })
		check := conformance.StepOf(conformance.AllPhases(phases.Overlap)[1], "etcd/remove-member").Check
		for i, most := range []time.Duration{consumers.EtcdLimit + 2*time.Second, 2 * time.Second} {
			began := time.Now()
			f, err := check(s.Context(), s.Operator.Env.Reader("cp1"))
			if err != nil || f.Verdict != migrate.Needed || !strings.Contains(f.Reason, "not looked at in files of cp1") {
				s.Errorf("look %d: %+v, %v", i+1, f, err)
			}
			if took := time.Since(began); took > most {
				s.Errorf("look %d took %s", i+1, took)
			}
		}
		s.Pass(2 * time.Minute) // until the one that hangs is gone
	})
}
