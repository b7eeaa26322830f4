package migrate

import (
	"context"
	"fmt"
	"slices"

	"hamigrate/state"
)

// Adopted is what became of a step in a journal that was rebuilt.
type Adopted struct {
	Phase  int    `json:"phase"`
	Step   StepID `json:"step"`
	Title  string `json:"title"`
	Target string `json:"target"`
	// Status is the record's: verified, started (it may be half done),
	// satisfied, or pending for no record.
	Status state.Status `json:"status"`
	// TrueNow is what its check saw.
	TrueNow string `json:"trueNow"`
	// Unknown is what can't be known of it, and so not be undone by
	// command.
	Unknown string `json:"unknown,omitempty"`
}

// AdoptJournal is what Adopt writes; *state.Journal is one.
type AdoptJournal interface {
	Advance(state.Key, state.Change) (state.Record, error)
	BeginPhase(phase int, spec, declaration string, choice map[string]string) error
	BeginRun(phase int) (end func(result string, completed bool) error, err error)
}

// Adoption is the evidence that a lost journal is rebuilt from.
type Adoption struct {
	PreImages []PreImage // of all phases
	// Ours says whether something besides a trace tells that a step was done
	// by this program, and what: a backup on the host. "" for no.
	Ours func(ctx context.Context, step StepID, target string) (string, error)
	Spec string // the fingerprint of the spec at hand
}

// Adopt writes what a journal would hold of a phase, from what the cluster
// shows and from the traces. It changes nothing but the journal:
//
//   - a step with a trace was ours. Satisfied, it is verified; else it is
//     started, which means that its outcome is unknown. Either way it has its
//     pre-image again and can be undone;
//   - a satisfied step without a trace, with other evidence that it was ours,
//     is verified without a pre-image: it stands, and says why it can't be
//     undone;
//   - any other satisfied step is one found done at first sight;
//   - a step that is to be done has no record, as before a run.
//
// A phase of which nothing is ours and something is to be done was not begun,
// and gets no record at all: a run finds by itself what is done. A check that
// fails leaves its step as it is known: nothing is guessed.
func Adopt[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H], from Adoption, j AdoptJournal) ([]Adopted, error) {
	if err := Validate(p); err != nil {
		return nil, err
	}
	all, err := visits(ctx, env, p)
	if err != nil {
		return nil, err
	}
	var list []adopting
	begun, complete := false, true
	for _, v := range all {
		a, err := adoptOne(ctx, env, p, v, from)
		if err != nil {
			return nil, err
		}
		begun = begun || a.preImage != nil || a.Status == state.Verified
		complete = complete && (a.Status == state.Verified || a.Status == state.Satisfied)
		list = append(list, a)
	}
	list = append(list, withoutTarget(p, all, from.PreImages)...)
	if begun || complete {
		err = writeAdopted(p, list, from, complete, j)
	} else {
		for i := range list {
			list[i].Status = state.Pending
		}
	}
	out := make([]Adopted, len(list))
	for i, a := range list {
		out[i] = a.Adopted
	}
	return out, err
}

// adopting is one step on one target, with its trace where it has one.
type adopting struct {
	Adopted
	preImage *PreImage
}

func adoptOne[V, H any](ctx context.Context, env Env[V, H], p Phase[V, H], v visit[V, H], from Adoption) (adopting, error) {
	a := adopting{Adopted: Adopted{Phase: p.Number, Step: v.ID, Title: v.Title, Target: v.target, Status: state.Pending}}
	if i := slices.IndexFunc(from.PreImages, func(t PreImage) bool { return t.Phase == p.Number && t.Step == v.ID && t.Target == v.target }); i >= 0 {
		a.preImage = &from.PreImages[i]
		a.Status = state.Started
	}
	finding, err := v.check(ctx, env)
	if err != nil {
		a.TrueNow = "its check says: " + err.Error()
		return a, ctx.Err()
	}
	a.TrueNow = finding.Reason
	if finding.Verdict != Satisfied {
		return a, nil
	}
	if a.preImage != nil {
		a.Status = state.Verified
		return a, nil
	}
	a.Status = state.Satisfied
	if !v.goesBack() {
		return a, nil // nothing would be undone anyway
	}
	ours, err := from.Ours(ctx, v.ID, v.target)
	if err != nil {
		return a, fmt.Errorf("looking for traces of %s on %s: %w", v.ID, v.target, err)
	}
	if ours != "" {
		a.Status, a.Unknown = state.Verified, "what was there before is not known: "+ours
	}
	return a, nil
}

// withoutTarget are traces of steps that are no part of the phase any more: a
// host that was taken out of the spec. They are ours all the same.
func withoutTarget[V, H any](p Phase[V, H], all []visit[V, H], traces []PreImage) []adopting {
	var out []adopting
	for i, t := range traces {
		known := slices.ContainsFunc(all, func(v visit[V, H]) bool { return v.ID == t.Step && v.target == t.Target })
		if t.Phase == p.Number && !known {
			out = append(out, adopting{preImage: &traces[i], Adopted: Adopted{Phase: t.Phase, Step: t.Step, Title: string(t.Step), Target: t.Target,
				Status: state.Started, TrueNow: "it is no step of this phase, as the spec is now"}})
		}
	}
	return out
}

func writeAdopted[V, H any](p Phase[V, H], list []adopting, from Adoption, complete bool, j AdoptJournal) error {
	spec, declaration, choice := from.Spec, Fingerprint(p), p.Choice.record()
	for _, a := range list {
		if a.preImage != nil { // what it was begun with: a changed spec is noticed, as ever
			spec, declaration, choice = a.preImage.Spec, a.preImage.Declaration, a.preImage.Choice
			break
		}
	}
	end, err := j.BeginRun(p.Number)
	if err != nil {
		return fmt.Errorf("adopting phase %d: %w", p.Number, err)
	}
	if err := j.BeginPhase(p.Number, spec, declaration, choice); err != nil {
		return fmt.Errorf("adopting phase %d: %w", p.Number, err)
	}
	for _, a := range list {
		change := state.Change{Note: "adopted: " + a.TrueNow, Unknown: a.Unknown}
		switch a.Status {
		case state.Verified:
			change.Event = state.Adopt
		case state.Started:
			change.Event = state.Start
		case state.Satisfied:
			change.Event = state.Found
		default:
			continue
		}
		if a.preImage != nil {
			change.Before, change.Edits = a.preImage.Before, a.preImage.Edits
		}
		if _, err := j.Advance(keyOf(p.Number, a.Step, a.Target), change); err != nil {
			return fmt.Errorf("adopting %s on %s: %w", a.Step, a.Target, err)
		}
	}
	if err := end("adopted", complete); err != nil {
		return fmt.Errorf("adopting phase %d: %w", p.Number, err)
	}
	return nil
}
