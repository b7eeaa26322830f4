package run

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/inputfile"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// SavedPlan is the file of `plan --out`: what was seen and what is to be done,
// with everything that decides it. Findings hold no secret, so the file has
// none; it is for its owner alone all the same.
type SavedPlan struct {
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
	Phases            []SavedPhase `json:"phases"`
}

type SavedPhase struct {
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

// NewSavedPlan is the file's content.
func NewSavedPlan(s *Session, id, kubernetes string, strategy phases.Strategy, phase int, list []phases.Phase, plans []PhasePlan) SavedPlan {
	p := SavedPlan{Format: planFormat, Tool: s.tool, Made: time.Now().UTC().Truncate(time.Second), By: whoIAm(), Name: s.Spec.Name, Cluster: id,
		KubernetesVersion: kubernetes, Spec: s.Spec.Fingerprint, Strategy: string(strategy), Phase: phase}
	for i, one := range plans {
		saved := SavedPhase{Phase: one.Phase, Declaration: migrate.Fingerprint(list[i])}
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

// maxPlan bounds a saved plan, which has whole manifests in it.
const maxPlan = 64 << 20

// ReadPlan reads the file that `migrate plan --out` wrote. One that is not whole is refused.
func ReadPlan(file string) (SavedPlan, error) {
	text, err := inputfile.Kind{What: "plan", Max: maxPlan}.Read(file)
	if err != nil {
		return SavedPlan{}, err
	}
	return parsePlan(file, text)
}

// parsePlan is readPlan for a file's content.
func parsePlan(file string, text []byte) (SavedPlan, error) {
	var p SavedPlan
	if err := json.Unmarshal(text, &p); err != nil || p.Format != planFormat {
		return SavedPlan{}, fmt.Errorf("%s is no plan that this version reads: `migrate plan --out FILE` saves one", file)
	}
	if lacks := p.lacks(); lacks != "" {
		return SavedPlan{}, fmt.Errorf("%s is not a whole plan: %s; `migrate plan --out FILE` saves one", file, lacks)
	}
	return p, nil
}

// lacks says why a plan is not one that was saved; "" where it is. One that names
// less than it is for would have nothing to be compared with.
func (p SavedPlan) lacks() string {
	if s := phases.Strategy(p.Strategy); s != phases.Overlap && s != phases.InPlace {
		return "it has the strategy " + inputfile.Quote(p.Strategy)
	}
	all := migration.Phases(phases.Strategy(p.Strategy))
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

// since are the steps of which the journal says that we changed something
// after the plan was made.
func (p SavedPlan) since(j *state.Journal) (map[state.Key]bool, error) {
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
