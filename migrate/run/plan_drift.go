package run

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/state"
)

// driftError is a saved plan that is not what a run would do now.
type driftError struct {
	file  string
	made  time.Time
	drift []string // each a clause: what is different
	shown string   // the same as diffs, where texts differ
}

func (e *driftError) Error() string {
	text := fmt.Sprintf("the plan %s of %s is not what would be done now, so nothing was done: %s. Look at `migrate plan`, and save that one with --out",
		e.file, e.made.UTC().Format(time.DateTime+" UTC"), strings.Join(e.drift, "; "))
	if e.shown != "" {
		text += "\n" + strings.TrimRight(e.shown, "\n")
	}
	return text
}

// CheckSpec compares what can be compared without any host: the spec, and the
// steps of this version.
func (p SavedPlan) CheckSpec(file string, s *Session, list []phases.Phase) error {
	e := &driftError{file: file, made: p.Made}
	if p.Spec != s.Spec.Fingerprint {
		e.drift = append(e.drift, fmt.Sprintf("%s means something else than when the plan was made (%s, then %s)", s.File, short(s.Spec.Fingerprint), short(p.Spec)))
	}
	for i, saved := range p.Phases {
		if i >= len(list) || list[i].Number != saved.Phase {
			return fmt.Errorf("%s names a phase %d that this version does not have", file, saved.Phase)
		}
		if migrate.Fingerprint(list[i]) != saved.Declaration {
			e.drift = append(e.drift, fmt.Sprintf("the steps of phase %d are those of migrate %s, and this is %s", saved.Phase, p.Tool, s.tool))
		}
	}
	if len(e.drift) > 0 {
		return e
	}
	return nil
}

// fitsCluster compares what ties a plan to a cluster: before anything is
// written, the journal's own tie to it among that.
func (p SavedPlan) checkCluster(file, id, kubernetes string) error {
	e := &driftError{file: file, made: p.Made}
	switch {
	case id != p.Cluster:
		e.drift = []string{fmt.Sprintf("it is about the cluster %s, and this is %s", p.Cluster, id)}
	case kubernetes != p.KubernetesVersion:
		e.drift = []string{fmt.Sprintf("the cluster ran Kubernetes %s, and runs %s", p.KubernetesVersion, kubernetes)}
	default:
		return nil
	}
	return e
}

// Matches compares a plan with what is true now. Steps that are in since, the
// journal's records that changed after the plan was made, are as the plan
// wanted them; their effect on later steps, on the texts that those change and
// on whether they are to be done at all, is ours and no drift.
func (p SavedPlan) Matches(file string, now []PhasePlan, since map[state.Key]bool) error {
	e := &driftError{file: file, made: p.Made}
	var shown strings.Builder
	for i, saved := range p.Phases {
		if i >= len(now) {
			break
		}
		comparePhase(e, &shown, saved, now[i].Entries, since)
	}
	if len(e.drift) == 0 {
		return nil
	}
	e.shown = shown.String()
	return e
}

func (p SavedPhase) find(step migrate.StepID, target string) int {
	return slices.IndexFunc(p.Steps, func(s savedStep) bool { return s.Step == step && s.Target == target })
}

func comparePhase(e *driftError, shown io.Writer, saved SavedPhase, now []migrate.Entry, since map[state.Key]bool) {
	for _, en := range now {
		i := saved.find(en.Step, en.Target)
		where := migrate.Where{Phase: saved.Phase, Step: en.Step, Target: en.Target}
		if i < 0 {
			e.drift = append(e.drift, fmt.Sprintf("%s is to be done and is not in the plan", where))
			continue
		}
		was := saved.Steps[i]
		ours := since[state.Key{Phase: saved.Phase, Step: string(en.Step), Target: en.Target}]
		switch {
		case was.Verdict == migrate.Needed && (ours || len(since) > 0 && en.Finding.Verdict == migrate.Satisfied):
			// A step of ours may leave a later one nothing to do: the package of
			// nginx brings a limit that is high enough, a leader moves by itself.
		case was.Verdict != en.Finding.Verdict:
			e.drift = append(e.drift, fmt.Sprintf("%s was %s (%s) and is %s now (%s)", where, was.Verdict, was.Reason, en.Finding.Verdict, en.Finding.Reason))
		case len(since) == 0 && !slices.Equal(was.Changes, en.Finding.Changes):
			e.drift = append(e.drift, fmt.Sprintf("%s would change something else than the plan says", where))
			printDrift(shown, was.Changes, en.Finding.Changes)
		}
	}
	for _, was := range saved.Steps {
		if !slices.ContainsFunc(now, func(en migrate.Entry) bool { return en.Step == was.Step && en.Target == was.Target }) {
			e.drift = append(e.drift, fmt.Sprintf("%s on %s is in the plan, and %s is no target of it any more", was.Step, was.Target, was.Target))
		}
	}
}

// printDrift shows, for each object, what the plan found there against what is
// there now, and the same of what it is to become.
func printDrift(w io.Writer, was, now []migrate.Change) {
	find := func(list []migrate.Change, object string) migrate.Change {
		i := slices.IndexFunc(list, func(c migrate.Change) bool { return c.Object == object })
		if i < 0 {
			return migrate.Change{}
		}
		return list[i]
	}
	var objects []string
	for _, c := range slices.Concat(was, now) {
		if !slices.Contains(objects, c.Object) {
			objects = append(objects, c.Object)
		}
	}
	for _, o := range objects {
		old, is := find(was, o), find(now, o)
		// Where what is there has drifted, what it becomes has with it.
		shown := migrate.Change{Object: o + " (as planned from, and now)", Before: old.Before, After: is.Before}
		if old.Before == is.Before {
			shown = migrate.Change{Object: o + " (as planned to be, and as it would be now)", Before: old.After, After: is.After}
		}
		if shown.Before != shown.After {
			show.Diff(w, shown.Object, shown.Before, shown.After, false)
		}
	}
}

// exactly refuses where something else than the plan would be done now.
func (p SavedPlan) exactly(ctx context.Context, file string, s *Session, j *state.Journal, list []phases.Phase) error {
	since, err := p.since(j)
	if err != nil {
		return err
	}
	now, err := MakePlan(ctx, s, list, j)
	if err != nil {
		return err
	}
	return p.Matches(file, now, since)
}

// short is a fingerprint as one compares it by eye.
func short(fingerprint string) string {
	const digits = 12
	kind, sum, _ := strings.Cut(fingerprint, ":")
	return kind + ":" + cmp.Or(sum[:min(len(sum), digits)], "none")
}
