package phasestest_test

import (
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// TestDeclarations: the phases are sound, and a step's ID, which is its key in
// every journal, is nobody else's.
func TestDeclarations(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		seen := map[migrate.StepID]int{}
		for i, p := range allPhases(strategy) {
			if err := migrate.Validate(p); err != nil {
				t.Error(err)
			}
			if p.Number != i+1 {
				t.Errorf("phase %s has the number %d at place %d", p.Name, p.Number, i+1)
			}
			for _, s := range p.Steps {
				if first, ok := seen[s.ID]; ok {
					t.Errorf("%s is a step of the phases %d and %d", s.ID, first, p.Number)
				}
				seen[s.ID] = p.Number
				if !strings.HasPrefix(string(s.ID), p.Name+"/") {
					t.Errorf("%s is a step of phase %s", s.ID, p.Name)
				}
				if strings.TrimSpace(s.ByHand) == "" {
					t.Errorf("%s does not say how to do it by hand", s.ID)
				}
			}
		}
	}
}

// TestStrategiesDifferInTheOverlapAlone: a journal begun with one strategy
// must mean the same steps in the other.
func TestStrategiesDifferInTheOverlapAlone(t *testing.T) {
	t.Parallel()
	var inPlace, overlap []migrate.StepID
	for _, s := range allPhases(phases.InPlace)[1].Steps {
		inPlace = append(inPlace, s.ID)
	}
	for _, s := range allPhases(phases.Overlap)[1].Steps {
		if !strings.HasPrefix(string(s.ID), "etcd/overlap-") {
			overlap = append(overlap, s.ID)
		}
	}
	if got, want := strings.Join(words(overlap), " "), strings.Join(words(inPlace), " "); got != want {
		t.Errorf("without the overlap the steps are\n%s, in place they are\n%s", got, want)
	}
}

func words(ids []migrate.StepID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out
}
