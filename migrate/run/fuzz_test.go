package run

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hamigrate/internal/within"
	"hamigrate/migrate"
	"hamigrate/phases"
)

// FuzzSavedPlan: a file is refused by its name, or is a whole plan that is the
// same when it is saved again, and that a run of just what it says agrees with.
func FuzzSavedPlan(f *testing.F) {
	whole := SavedPlan{Format: planFormat, Tool: "dev", Spec: "sha256:00", Strategy: string(phases.Overlap), Phase: 2}
	whole.Phases = []SavedPhase{{Phase: 2, Declaration: "sha256:11", Steps: []savedStep{{Step: "etcd/peer-url", Target: "cp1", Verdict: migrate.Needed, Reason: "it is not", Changes: []migrate.Change{{Object: "x", Before: "a\n", After: "b\n"}}}}}}
	text, err := json.Marshal(whole)
	if err != nil {
		f.Fatal(err)
	}
	for _, change := range [][2]string{{"", ""}, {`"phase":2`, `"phase":0`}, {`"phase":2`, `"phase":-1`}, {`"phases":[`, `"phases":[null,`}, {`"steps":[`, `"steps":[null,`}, {"overlap", "x"}, {`"made":"0001`, `"made":"99999`}, {"peer-url", `peer-url\u001b]0;x\u0007`}} {
		f.Add(strings.Replace(string(text), change[0], change[1], 1))
	}
	f.Add(strings.Repeat("[", 20_000))
	f.Fuzz(func(t *testing.T, text string) {
		within.Bounds(t, func() {
			p, err := parsePlan("the.plan", []byte(text))
			if err != nil {
				if !strings.HasPrefix(err.Error(), "the.plan is ") || len(err.Error()) > 500 {
					t.Errorf("it says %v", err)
				}
				return
			}
			saved, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parsePlan("the.plan", saved)
			if diff := cmp.Diff(p, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("saved again it is another: %v\n%s", err, diff)
			}
			var now []PhasePlan
			for _, phase := range p.Phases {
				one := PhasePlan{}
				one.Phase = phase.Phase
				for _, s := range phase.Steps {
					one.Entries = append(one.Entries, migrate.Entry{Step: s.Step, Target: s.Target, Finding: migrate.Finding{Verdict: s.Verdict, Reason: s.Reason, Changes: s.Changes}})
				}
				now = append(now, one)
			}
			if err := p.Matches("the.plan", now, nil); err != nil && len(p.Phases) == 1 && len(p.Phases[0].Steps) == 1 {
				t.Errorf("it does not agree with itself: %v", err)
			}
		})
	})
}
