// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package etcd_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
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
)

// unwinding is phase 2 in which only these steps can be undone: the others
// stay as they are.
func takesBack(strategy phases.Strategy, ids ...migrate.StepID) phases.Phase {
	p := conformance.AllPhases(strategy)[1]
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		if s := &p.Steps[i]; !slices.Contains(ids, s.ID) {
			s.Undo, s.OneWay, s.Group = nil, "not of this test", ""
		}
	}
	return p
}

// memberSteps are those that add members and all that these need.
func memberSteps() []migrate.StepID {
	return []migrate.StepID{"etcd/peer-relay", "etcd/listen", "etcd/peer-url", "etcd/user", "etcd/binary", "etcd/certificates", "etcd/unit",
		"etcd/add-learner", "etcd/start-member", "etcd/promote"}
}

// oldMemberSteps are those that take the old member away.
func oldMemberSteps() []migrate.StepID {
	return []migrate.StepID{"etcd/remove-member", "etcd/retire-manifest", "etcd/archive-data", "etcd/remove-relay"}
}

// withoutPhase2 leaves out what phase 2 may leave behind when it is undone:
//
//   - copies and the archive in /var/lib/migrate, on every host;
//   - the old member's ID, which is another one: it was removed and added.
func withoutPhase2(state map[string]string) map[string]string {
	state = maps.Clone(state)
	maps.DeleteFunc(state, func(name, _ string) bool {
		_, what, _ := strings.Cut(name, " ")
		return strings.HasPrefix(what, "/var/lib/migrate")
	})
	// A member that joins again is another member of the same cluster.
	for name, data := range state {
		if strings.HasSuffix(name, "/member/snap/db") {
			state[name], _, _ = strings.Cut(data, " member ")
		}
	}
	return state
}

// upTo is phase 2 up to a step.
func upTo(strategy phases.Strategy, last migrate.StepID) phases.Phase {
	p := conformance.AllPhases(strategy)[1]
	end := slices.IndexFunc(p.Steps, func(s phases.Step) bool { return s.ID == last })
	p.Steps = p.Steps[:end+1]
	return p
}

// stepsToStopAt are those after which a way back may begin, the last one first. Up to
// the adding alone there would be three learners, which etcd refuses: the three steps
// of a host are taken together.
func stepsToStopAt() []migrate.StepID {
	ends := []migrate.StepID{"etcd/remove-relay"}
	for _, s := range conformance.AllPhases(phases.Overlap)[1].Steps {
		if s.ID == "etcd/add-learner" || s.ID == "etcd/start-member" {
			continue
		}
		if !slices.Contains(ends, s.ID) {
			ends = append(ends, s.ID)
		}
	}
	return ends
}

// TestPhase2IsTakenBack, up to a step and from its end: the hosts are as they
// were, and cp1's member is the only one, with all that was written since. The
// phase done again ends as at first.
func TestPhase2IsTakenBack(t *testing.T) {
	type test struct {
		strategy phases.Strategy
		last     migrate.StepID
		options  []simulator.Option
	}
	tests := map[string]test{
		"in-place to its end": {phases.InPlace, "etcd/archive-data", nil}, "in-place to the members": {phases.InPlace, "etcd/promote", nil},
		"host address": {phases.Overlap, "etcd/remove-relay", []simulator.Option{simulator.EtcdOnHostAddress}},
	}
	for i, id := range stepsToStopAt() {
		if conformance.Share(i, 1) {
			tests["up to "+string(id)] = test{phases.Overlap, id, nil}
		}
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, c.strategy, func(s conformance.Stage) {
				s.Script("e2", "mkdir -p /usr/local/bin /etc/etcd; echo mine > /usr/local/bin/etcdctl; echo A=b > /etc/etcd/etcd.env")
				s.Pass(conformance.Lasting)
				before, outages := s.State(), s.Outages()
				p := upTo(c.strategy, c.last)
				if err := s.Operator.RunPhase(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				s.Pass(time.Minute)
				end := s.State()
				if err := s.Rollback(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				if diff := cmp.Diff(withoutPhase2(before), withoutPhase2(s.State())); diff != "" {
					s.Errorf("undone, not all is as it was:\n%s", diff)
				}
				if c.strategy == phases.Overlap {
					conformance.Noticed(s.T, s.World, outages)
				}
				if err := s.Operator.RunPhase(s.Context(), p); err != nil {
					s.Fatalf("done again: %v", err)
				}
				s.Pass(time.Minute)
				if diff := cmp.Diff(withoutPhase2(end), withoutPhase2(s.State())); diff != "" {
					s.Errorf("done again, the end is another one:\n%s", diff)
				}
			}, c.options...)
		})
	}
}

// TestOldMemberJoinsAgain takes back only what took the old member away, and
// goes forward from there again.
func TestOldMemberJoinsAgain(t *testing.T) {
	for name, c := range map[string]struct {
		strategy phases.Strategy
		options  []simulator.Option
	}{
		"overlap": {phases.Overlap, nil}, "in-place": {phases.InPlace, nil},
		"host address": {phases.Overlap, []simulator.Option{simulator.EtcdOnHostAddress}},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, c.strategy, func(s conformance.Stage) {
				if err := s.Operator.RunPhase(s.Context(), upTo(c.strategy, "etcd/kubeadm-config")); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				before := s.State()
				if err := s.Phase(2, c.strategy); err != nil {
					s.Fatal(err)
				}
				s.Pass(time.Minute)
				end, outages := s.State(), s.Outages()
				if err := s.Rollback(s.Context(), takesBack(c.strategy, oldMemberSteps()...)); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				if diff := cmp.Diff(withoutPhase2(before), withoutPhase2(s.State())); diff != "" {
					s.Errorf("undone, not all is as it was:\n%s", diff)
				}
				conformance.Noticed(s.T, s.World, outages)
				if err := s.Phase(2, c.strategy); err != nil {
					s.Fatalf("done again: %v", err)
				}
				s.Pass(time.Minute)
				if diff := cmp.Diff(withoutPhase2(end), withoutPhase2(s.State())); diff != "" {
					s.Errorf("done again, the end is another one:\n%s", diff)
				}
				conformance.Noticed(s.T, s.World, outages)
			}, c.options...)
		})
	}
}

// phase2Deaths does phase 2 and takes it back, and returns every instant of
// one of the two at which the program may die, and how the world was before.
func phase2Deaths(t *testing.T, strategy phases.Strategy, back bool) (deaths []conformance.Death, before map[string]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		all := conformance.AllPhases(strategy)
		if err := o.RunPhase(t.Context(), all[0]); err != nil {
			t.Fatal(err)
		}
		aside := w.Save().World(t)
		aside.Pass(conformance.Lasting)
		before = aside.State()
		aside.Close()
		watch := func(p simulator.Point) {
			d := conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()}
			if n := len(deaths); n == 0 || !deaths[n-1].Like(d) {
				deaths = append(deaths, d)
			}
		}
		if !back {
			w.Watch = watch
		}
		if err := o.RunPhase(t.Context(), all[1]); err != nil {
			t.Fatal(err)
		}
		if w.Watch = nil; !back {
			return
		}
		w.Watch = watch
		if err := o.Rollback(t.Context(), all[1]); err != nil {
			t.Fatalf("%v; never may be: %q", err, w.Broken())
		}
		w.Watch = nil
	})
	return deaths, before
}

// TestPhase2KilledThenTakenBack kills the program at every instant of phase 2,
// and of its way back, and then takes the phase back, at once or half an hour
// later: nobody notices, nothing is founded again, and all is as it was.
func TestPhase2KilledThenTakenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for name, c := range map[string]struct {
		strategy phases.Strategy
		back     bool
	}{
		"forward": {phases.Overlap, false}, "back": {phases.Overlap, true}, "back in place": {phases.InPlace, true},
	} {
		t.Run(name, func(t *testing.T) {
			deaths, before := phase2Deaths(t, c.strategy, c.back)
			if t.Failed() {
				return
			}
			taken := 0
			t.Run("instants", func(t *testing.T) {
				for i, d := range deaths {
					if !conformance.Share(i, 11) {
						continue
					}
					taken++
					t.Run(fmt.Sprintf("%03d %s", i, conformance.Label(d.Op, d.When)), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { takeUpPhase2(t, d, c.strategy, before, time.Duration(i%3/2)*30*time.Minute) })
					})
				}
			})
			t.Logf("%d instants, %d times undone", len(deaths), taken)
		})
	}
}

// takeUpPhase2 starts the program again with what a death has left.
func takeUpPhase2(t *testing.T, d conformance.Death, strategy phases.Strategy, before map[string]string, later time.Duration) {
	w := d.World.World(t)
	defer w.Close()
	outages := w.Outages()
	w.Pass(later)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	if err := o.Rollback(t.Context(), conformance.AllPhases(strategy)[1]); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	w.Pass(conformance.Lasting)
	if strategy == phases.Overlap {
		conformance.Noticed(t, w, outages)
	}
	if diff := cmp.Diff(withoutPhase2(before), withoutPhase2(w.State())); diff != "" {
		t.Errorf("undone, not all is as it was:\n%s", diff)
	}
	if broken := w.Broken(); len(broken) > 0 {
		t.Errorf("never may be: %q", broken)
	}
}
