package conformance_test

import (
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
)

// TestDeclarations: the phases are sound, and a step's ID, which is its key in
// every journal, is nobody else's.
func TestDeclarations(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		seen := map[migrate.StepID]int{}
		for i, p := range conformance.AllPhases(strategy) {
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

// TestStepsOfBefore: a journal in which a phase is part done can be
// carried on only with the same steps. These are the fingerprints that journals
// in use have.
func TestStepsOfBefore(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[phases.Strategy]string{
		phases.Overlap:     "sha256:0b86c4e60361d61b7e889b8796fa4fa36fdb292f283089b89d8c0fa316e19557",
		phases.InPlace:     "sha256:3c34020528825114196a26c1e3ebe3aa3d595687cae0b65470260f922b3e9020",
		phases.BackInPlace: "sha256:0b86c4e60361d61b7e889b8796fa4fa36fdb292f283089b89d8c0fa316e19557",
	} {
		if got := migrate.Fingerprint(conformance.AllPhases(strategy)[1]); got != want {
			t.Errorf("%s: the steps have the fingerprint %s, and had %s", strategy, got, want)
		}
	}
	for number, want := range map[int]string{
		1: "sha256:c3f988c4e4971f46c7593d189b7f79f77b9831288f6ed9148a5feb627005f6e0",
		3: "sha256:c98fac80cc513de79d84a6249ee05dd4a267515ba67f4fa1c184539bfcd428d1",
	} {
		if got := migrate.Fingerprint(conformance.AllPhases(phases.Overlap)[number-1]); got != want {
			t.Errorf("phase %d: the steps have the fingerprint %s, and had %s", number, got, want)
		}
	}
}

// TestStrategiesDiffer: what only one strategy does is listed here; all else is
// the same in both, in the same order.
func TestStrategiesDiffer(t *testing.T) {
	t.Parallel()
	own := map[phases.Strategy]string{
		phases.Overlap: "etcd/peer-relay etcd/overlap-twin etcd/overlap-endpoints etcd/overlap-redirect etcd/overlap-back etcd/overlap-end etcd/remove-relay",
		phases.InPlace: "etcd/listen",
	}
	ids := func(s phases.Strategy) (shared, alone string) {
		for _, step := range conformance.AllPhases(s)[1].Steps {
			if id := string(step.ID); slices.Contains(strings.Fields(own[s]), id) {
				alone += id + " "
			} else {
				shared += id + " "
			}
		}
		return shared, strings.TrimSpace(alone)
	}
	overlap, overlapAlone := ids(phases.Overlap)
	inPlace, inPlaceAlone := ids(phases.InPlace)
	if overlap != inPlace {
		t.Errorf("without its own steps the overlap does\n%s, in place it is\n%s", overlap, inPlace)
	}
	if overlapAlone != own[phases.Overlap] || inPlaceAlone != own[phases.InPlace] {
		t.Errorf("overlap alone does %q, in place alone does %q", overlapAlone, inPlaceAlone)
	}
}
