package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/state"
)

// savedPlan is the file of `plan --out`: what was seen and what is to be done,
// with everything that decides it. Findings hold no secret, so the file has
// none; it is for its owner alone all the same.
type savedPlan struct {
	Format            string       `json:"format"`
	Tool              string       `json:"tool"`
	Made              time.Time    `json:"made"`
	By                string       `json:"by"`
	Name              string       `json:"name"`    // the spec's
	Cluster           string       `json:"cluster"` // the cluster's own identity
	KubernetesVersion string       `json:"kubernetesVersion"`
	Spec              string       `json:"spec"` // its fingerprint
	Strategy          string       `json:"strategy"`
	Phase             int          `json:"phase"` // of --phase; 0: all
	Phases            []savedPhase `json:"phases"`
}

type savedPhase struct {
	Phase       int         `json:"phase"`
	Declaration string      `json:"declaration"` // fingerprint of the step list
	Steps       []savedStep `json:"steps"`
}

type savedStep struct {
	Step    migrate.StepID   `json:"step"`
	Target  string           `json:"target"`
	Verdict migrate.Verdict  `json:"verdict"`
	Reason  string           `json:"reason"`
	Changes []migrate.Change `json:"changes,omitempty"`
}

// planFormat begins every saved plan, so that another file is not taken for
// one.
const planFormat = "migrate plan 1"

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

// planIdentity is what ties a plan to one cluster.
func planIdentity(ctx context.Context, s *session) (id, version string, err error) {
	k, err := s.world.View(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return "", "", err
	}
	if id, err = k.Identity(ctx); err != nil {
		return "", "", err
	}
	version, err = k.Version()
	return id, version, err
}

// newSavedPlan is the file's content.
func newSavedPlan(s *session, id, kubernetes string, strategy phases.Strategy, phase int, list []phases.Phase, plans []phasePlan) savedPlan {
	p := savedPlan{Format: planFormat, Tool: version, Made: time.Now().UTC().Truncate(time.Second), By: whoIAm(), Name: s.spec.Name, Cluster: id,
		KubernetesVersion: kubernetes, Spec: s.spec.Fingerprint, Strategy: string(strategy), Phase: phase}
	for i, one := range plans {
		saved := savedPhase{Phase: one.Phase, Declaration: migrate.Fingerprint(list[i])}
		for _, e := range one.Entries {
			saved.Steps = append(saved.Steps, savedStep{e.Step, e.Target, e.Finding.Verdict, e.Finding.Reason, e.Finding.Changes})
		}
		p.Phases = append(p.Phases, saved)
	}
	return p
}

func whoIAm() string {
	name, host := "?", "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// writePlan writes a plan to the file of --out.
func writePlan(file string, own ownFiles, p savedPlan) error {
	return writeOutput("out", file, 0o600, own, func(w io.Writer) error { return show.WriteJSON(w, p) })
}

// maxPlan bounds a saved plan, which has whole manifests in it.
const maxPlan = 64 << 20

func readPlan(file string) (savedPlan, error) {
	text, err := inputfile.Kind{What: "plan", Max: maxPlan}.Read(file)
	if err != nil {
		return savedPlan{}, err
	}
	return parsePlan(file, text)
}

// parsePlan is readPlan for a file's content.
func parsePlan(file string, text []byte) (savedPlan, error) {
	var p savedPlan
	if err := json.Unmarshal(text, &p); err != nil || p.Format != planFormat {
		return savedPlan{}, fmt.Errorf("%s is no plan that this version reads: `migrate plan --out FILE` saves one", file)
	}
	if lacks := p.lacks(); lacks != "" {
		return savedPlan{}, fmt.Errorf("%s is not a whole plan: %s; `migrate plan --out FILE` saves one", file, lacks)
	}
	return p, nil
}

// lacks says why a plan is not one that was saved; "" where it is. One that names
// less than it is for would have nothing to be compared with.
func (p savedPlan) lacks() string {
	if s := phases.Strategy(p.Strategy); s != phases.Overlap && s != phases.InPlace {
		return "it has the strategy " + inputfile.Quote(p.Strategy)
	}
	all := allPhases(phases.Strategy(p.Strategy))
	if p.Phase < 0 || p.Phase > len(all) {
		return fmt.Sprintf("it is for a phase %d", p.Phase)
	}
	if p.Phase > 0 {
		all = all[p.Phase-1 : p.Phase]
	}
	if len(p.Phases) != len(all) {
		return fmt.Sprintf("it is for %d phases and has %d", len(all), len(p.Phases))
	}
	for i, one := range all {
		if p.Phases[i].Phase != one.Number || len(p.Phases[i].Steps) == 0 {
			return fmt.Sprintf("the steps of phase %d are not in it", one.Number)
		}
	}
	return ""
}

// fits compares what can be compared without any host: the spec, and the
// steps of this version.
func (p savedPlan) fits(file string, s *session, list []phases.Phase) error {
	e := &driftError{file: file, made: p.Made}
	if p.Spec != s.spec.Fingerprint {
		e.drift = append(e.drift, fmt.Sprintf("%s means something else than when the plan was made (%s, then %s)", s.file, short(s.spec.Fingerprint), short(p.Spec)))
	}
	for i, saved := range p.Phases {
		if i >= len(list) || list[i].Number != saved.Phase {
			return fmt.Errorf("%s names a phase %d that this version does not have", file, saved.Phase)
		}
		if migrate.Fingerprint(list[i]) != saved.Declaration {
			e.drift = append(e.drift, fmt.Sprintf("the steps of phase %d are those of migrate %s, and this is %s", saved.Phase, p.Tool, version))
		}
	}
	if len(e.drift) > 0 {
		return e
	}
	return nil
}

// fitsCluster compares what ties a plan to a cluster: before anything is
// written, the journal's own tie to it among that.
func (p savedPlan) fitsCluster(file, id, kubernetes string) error {
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

// matches compares a plan with what is true now. Steps that are in since, the
// journal's records that changed after the plan was made, are as the plan
// wanted them; their effect on later steps, on the texts that those change and
// on whether they are to be done at all, is ours and no drift.
func (p savedPlan) matches(file string, now []phasePlan, since map[state.Key]bool) error {
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

func (p savedPhase) find(step migrate.StepID, target string) int {
	return slices.IndexFunc(p.Steps, func(s savedStep) bool { return s.Step == step && s.Target == target })
}

func comparePhase(e *driftError, shown io.Writer, saved savedPhase, now []migrate.Entry, since map[state.Key]bool) {
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
			printChanges(w, []migrate.Change{shown}, false)
		}
	}
}

// exactly makes a run do what a saved plan says, or refuse.
func exactly(s *session, file string, p savedPlan, list []phases.Phase) func(context.Context, *state.Journal) error {
	return func(ctx context.Context, j *state.Journal) error {
		since, err := p.since(j)
		if err != nil {
			return err
		}
		now, err := makePlan(ctx, s, list, j)
		if err != nil {
			return err
		}
		return p.matches(file, now, since)
	}
}

// since are the steps of which the journal says that we changed something
// after the plan was made.
func (p savedPlan) since(j *state.Journal) (map[state.Key]bool, error) {
	out := map[state.Key]bool{}
	for _, saved := range p.Phases {
		records, err := j.Records(saved.Phase)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if r.Status.Touched() && (r.Started.After(p.Made) || r.Ended.After(p.Made)) {
				out[r.Key] = true
			}
		}
	}
	return out, nil
}

// planGiven is the file of `run FILE` or `run --plan FILE`, "" without one.
func planGiven(flag string, words []string) (string, error) {
	switch {
	case len(words) > 1 && strings.HasPrefix(words[1], "-"):
		return "", fmt.Errorf("`migrate run` takes one word, the file of a saved plan, after all flags; %q stands behind %q: write `migrate run %s %s` for a plan, and name a spec with --file", words[1], words[0], strings.Join(words[1:], " "), words[0])
	case len(words) > 1:
		return "", fmt.Errorf("`migrate run` takes one word, the file of a saved plan, after all flags; %q stands behind %q: name the spec with --file, the plan with --plan", words[1], words[0])
	case len(words) == 1 && flag != "":
		return "", fmt.Errorf("two plans are named, %q and %q: name one", flag, words[0])
	case len(words) == 1:
		return words[0], nil
	}
	return flag, nil
}

// short is a fingerprint as one compares it by eye.
func short(fingerprint string) string {
	const digits = 12
	kind, sum, _ := strings.Cut(fingerprint, ":")
	return kind + ":" + cmp.Or(sum[:min(len(sum), digits)], "none")
}
