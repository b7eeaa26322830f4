package migrate

import (
	"context"

	"hamigrate/state"
)

// PreImage is the second copy of a step's pre-image. The first is in the
// journal, on one person's machine; this one is kept with the cluster, so that
// a lost journal can be rebuilt (Adopt). Like Before it holds no secret. What
// differs from one attempt to the next is not in it: writing it twice is
// writing it once.
type PreImage struct {
	Phase  int    `json:"phase"`
	Step   StepID `json:"step"`
	Target string `json:"target"`
	Before Before `json:"before"`
	// Edits are what the step was to change, for the diffs of the way back.
	Edits []state.Edit `json:"edits,omitempty"`
	// Spec and Declaration are the fingerprints that the phase was begun with,
	// Choice is the choice.
	Spec        string            `json:"spec"`
	Declaration string            `json:"declaration"`
	Choice      map[string]string `json:"choice,omitempty"`
}

// PreImageStore is an Env that keeps pre-images. The engine keeps one after "started" is
// in the journal and before Apply, of each step that has to do with a rollback,
// and drops it when the step was undone: what has a pre-image there was, or may have been, changed by
// us, and what has none was not.
type PreImageStore interface {
	// Keep writes a pre-image; one of the same step and target is replaced.
	Keep(ctx context.Context, t PreImage) error
	// Drop removes it; one that is not there is success.
	Drop(ctx context.Context, phase int, step StepID, target string) error
	// PreImages lists all that are kept.
	PreImages(ctx context.Context) ([]PreImage, error)
}

// goesBack says whether a rollback has to do with the step: it is undone, or
// stands in the way because its Undo is not written yet.
func (v visit[V, H]) goesBack() bool { return v.Undo != nil || v.OneWay == NotYet }

// keepPreImage keeps the pre-image of the step at hand, where the Env has a store.
func (s *stepRun[V, H]) keepPreImage(ctx context.Context) error {
	trail, ok := s.Env.(PreImageStore)
	if !ok || !s.visit.goesBack() {
		return nil
	}
	rec := s.records[s.key()]
	return trail.Keep(ctx, PreImage{Phase: s.phase.Number, Step: s.visit.ID, Target: s.visit.target,
		Before: rec.Before, Edits: rec.Edits, Spec: s.Spec, Declaration: Fingerprint(s.phase), Choice: s.choice})
}

func (s *stepRun[V, H]) dropPreImage(ctx context.Context) error {
	trail, ok := s.Env.(PreImageStore)
	if !ok {
		return nil
	}
	return trail.Drop(ctx, s.phase.Number, s.visit.ID, s.visit.target)
}
