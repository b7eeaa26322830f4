package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/inputfile"
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

// newSavedPlan is the file's content.
func newSavedPlan(s *session, id, kubernetes string, strategy phases.Strategy, phase int, list []phases.Phase, plans []phasePlan) savedPlan {
	p := savedPlan{Format: planFormat, Tool: s.tool, Made: time.Now().UTC().Truncate(time.Second), By: whoIAm(), Name: s.spec.Name, Cluster: id,
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
