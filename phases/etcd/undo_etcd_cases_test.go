package etcd_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// undoOne calls the Undo of one step of phase 2 as it was recorded.
func undoOne(s conformance.Stage, ctx context.Context, id migrate.StepID, target string) error {
	s.T.Helper()
	records, err := s.Journal.Records(2)
	if err != nil {
		s.Fatal(err)
	}
	step := conformance.StepOf(conformance.AllPhases(phases.Overlap)[1], id)
	for _, r := range records {
		if r.Step == string(id) && r.Target == target {
			return step.Undo(ctx, s.Env.Writer(target), r.Before)
		}
	}
	s.Fatalf("%s on %s is not in the journal", id, target)
	return nil
}

// TestTheManifestOfBeforeFoundsACluster on an empty folder: the trap that the
// way back goes around is there in this world.
func TestTheManifestOfBeforeFoundsACluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, t.TempDir()+"/journal")
		defer o.Close()
		for _, p := range conformance.AllPhases(phases.Overlap)[:2] {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Root("cp1", "cp -p /var/lib/migrate/archive/etcd/etcd.yaml "+etcdManifest); err != nil {
			t.Fatal(err)
		}
		w.Pass(time.Minute)
		if broken := w.Broken(); len(broken) != 1 || !strings.Contains(broken[0], "founded a cluster") {
			t.Errorf("%q", broken)
		}
	})
}

// TestAVoterWhoseUnitIsDisabled is what a way back leaves that was cut before
// it removed the member: going forward again makes it start with its host.
func TestAVoterWhoseUnitIsDisabled(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		p := upTo(phases.Overlap, "etcd/promote")
		if err := s.Operator.RunPhase(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		if err := s.Root("e2", "systemctl disable etcd.service"); err != nil {
			s.Fatal(err)
		}
		if err := s.Operator.RunPhase(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		out, err := s.Env.Reader("e2").On("e2").Look(s.Context(), remote.Command{Script: "systemctl is-enabled etcd.service; systemctl is-active etcd.service", Waits: true})
		if out != "enabled\nactive\n" || err != nil {
			s.Errorf("%q, %v", out, err)
		}
	})
}

// TestMembersThatMayNotLeave: what would take more with it is refused, and
// changes nothing.
func TestMembersThatMayNotLeave(t *testing.T) {
	type refusal struct {
		name   string
		step   migrate.StepID
		script string // on cp1
		words  string
	}
	// What is refused changes nothing, so each is tried in the world of the one before.
	for last, refusals := range map[migrate.StepID][]refusal{
		"etcd/remove-relay": {
			{name: "an API server uses it", step: "etcd/promote", words: "the API server on cp1 uses the member on"},
		},
		"etcd/promote": {
			{name: "a voter is not just stopped", step: "etcd/start-member", words: "it is a voter"},
			{name: "a voter is no learner", step: "etcd/add-learner", words: "is a voter by now"},
			{name: "a running unit stays", step: "etcd/unit", words: "etcd.service there is active"},
			{name: "its certificates stay", step: "etcd/certificates", words: "etcd.service there is active"},
			{name: "its program stays", step: "etcd/binary", words: "etcd.service there is active"},
			{name: "its user stays", step: "etcd/user", words: "etcd.service there is active"},
			{name: "the old member is away", step: "etcd/promote", script: "mv " + etcdManifest + " /", words: "member"},
		},
	} {
		t.Run("after "+string(last), func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				if err := s.Operator.RunPhase(s.Context(), upTo(phases.Overlap, last)); err != nil {
					s.Fatal(err)
				}
				for _, c := range refusals {
					if c.script != "" {
						s.Script("cp1", c.script)
						s.Pass(10 * time.Second)
					}
					before, ops := s.State(), len(s.Faults.Ops())
					err := undoOne(s, s.Context(), c.step, "e3")
					if err == nil || !strings.Contains(err.Error(), c.words) {
						s.Errorf("%s: got %v", c.name, err)
					}
					if now := s.Faults.Ops(); len(now) != ops {
						s.Errorf("%s: refused, it made changes: %q", c.name, now[ops:])
					}
					if diff := cmp.Diff(before["etcd"], s.State()["etcd"]); diff != "" {
						s.Errorf("%s: %s", c.name, diff)
					}
				}
			})
		})
	}
}

// TestOthersNeedTheListener: the relay and the stored URL stay as long as
// there are others.
func TestOthersNeedTheListener(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), upTo(phases.Overlap, "etcd/promote")); err != nil {
			s.Fatal(err)
		}
		ops := len(s.Faults.Ops())
		for _, id := range []migrate.StepID{"etcd/peer-relay", "etcd/peer-url"} {
			if err := undoOne(s, s.Context(), id, "cp1"); err == nil || !strings.Contains(err.Error(), "is not the only one") {
				s.Errorf("%s: %v", id, err)
			}
		}
		if now := s.Faults.Ops(); len(now) != ops {
			s.Errorf("refused, it made changes: %q", now[ops:])
		}
	})
}

// TestTheLeaderLeaves: one that leads when its turn comes hands over first.
func TestTheLeaderLeaves(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		before, outages := s.State(), s.Outages()
		if err := s.Operator.RunPhase(s.Context(), upTo(phases.Overlap, "etcd/move-leader")); err != nil {
			s.Fatal(err)
		}
		if !strings.Contains(s.State()["etcd"], "e1 [https://10.88.0.21:2380] [https://10.88.0.21:2379] learner=false leader=true") {
			s.Fatalf("e1 does not lead:\n%s", s.State()["etcd"])
		}
		if err := s.Rollback(s.Context(), takesBack(phases.Overlap, memberSteps()...)); err != nil {
			s.Fatal(err)
		}
		s.Pass(conformance.Lasting)
		if diff := cmp.Diff(withoutPhase2(before)["etcd"], s.State()["etcd"]); diff != "" {
			s.Error(diff)
		}
		conformance.Noticed(s.T, s.World, outages)
	})
}

// TestOldMemberJoinsFromAnywhere: what is in the way of the old member is put
// aside, and none of it is started.
func TestOldMemberJoinsFromAnywhere(t *testing.T) {
	conformance.Long(t)
	for name, c := range map[string]struct {
		last   migrate.StepID   // forward
		undone []migrate.StepID // of the way back
		script string           // what then happens to cp1
	}{
		"removed, and it ends again and again": {last: "etcd/remove-member"},
		"its data was not moved":               {last: "etcd/retire-manifest"},
		"the learner has lost its data":        {last: "etcd/remove-relay", undone: []migrate.StepID{"etcd/remove-relay", "etcd/archive-data"}, script: "rm -rf /var/lib/etcd/member"},
		"the learner's manifest is gone":       {last: "etcd/remove-relay", undone: []migrate.StepID{"etcd/remove-relay", "etcd/archive-data"}, script: "rm " + etcdManifest},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				if err := s.Operator.RunPhase(s.Context(), upTo(phases.Overlap, "etcd/kubeadm-config")); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				before, outages := s.State(), s.Outages()
				if err := s.Operator.RunPhase(s.Context(), upTo(phases.Overlap, c.last)); err != nil {
					s.Fatal(err)
				}
				s.Pass(time.Minute)
				for _, id := range c.undone {
					if err := undoOne(s, s.Context(), id, "cp1"); err != nil {
						s.Fatal(err)
					}
				}
				if c.script != "" {
					s.Script("cp1", c.script)
					s.Pass(time.Minute)
				}
				left := slices.DeleteFunc(oldMemberSteps(), func(id migrate.StepID) bool { return slices.Contains(c.undone, id) })
				slices.Reverse(left)
				for _, id := range left {
					if stepIsDone(s, id) {
						if err := undoOne(s, s.Context(), id, "cp1"); err != nil {
							s.Fatalf("%s: %v", id, err)
						}
					}
				}
				s.Pass(conformance.Lasting)
				if diff := cmp.Diff(withoutPhase2(before), withoutPhase2(s.State())); diff != "" {
					s.Errorf("not all is as it was:\n%s", diff)
				}
				conformance.Noticed(s.T, s.World, outages)
			})
		})
	}
}

// stepIsDone says whether the journal has it as changed on cp1.
func stepIsDone(s conformance.Stage, id migrate.StepID) bool {
	s.T.Helper()
	records, err := s.Journal.Records(2)
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range records {
		if r.Step == string(id) && r.Status.Touched() {
			return true
		}
	}
	return false
}
