package report

import (
	"path/filepath"

	"hamigrate/migrate/report/page"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// PageOptions are what a page needs besides the journal.
type PageOptions struct {
	Phases Declared
	Tool   string // the version of this program
}

// MakePage gathers what the report's page shows besides the contract.
func MakePage(j *state.Journal, r Report, o PageOptions) (page.Data, error) {
	d := page.Data{
		Cluster: r.Cluster, KubernetesVersion: r.KubernetesVersion, Strategy: r.Strategy, Result: r.Result, Tool: o.Tool,
		StartedAt: r.StartedAt, Seconds: r.Seconds, TwoVoterSeconds: r.TwoVoterSeconds, Probe: r.Probe,
	}
	for _, b := range r.Backups {
		d.Backups = append(d.Backups, page.Backup{Phase: b.Phase, At: b.At, Folder: filepath.Base(b.Folder), EtcdVersion: b.Version,
			Revision: b.Revision, Keys: b.Keys, Files: b.Files, Bytes: b.Bytes, Hash: b.Hash})
	}
	var err error
	if d.Identity, err = j.Cluster(); err != nil {
		return d, err
	}
	if d.Runs, err = j.Runs(); err != nil {
		return d, err
	}
	if d.Log, err = j.Log(); err != nil {
		return d, err
	}
	if _, err := j.GetBlob(runrecord.HostKeysBlob, &d.HostKeys); err != nil {
		return d, err
	}
	var took runrecord.Timings
	if _, err := j.GetBlob(runrecord.TimingsBlob, &took); err != nil {
		return d, err
	}
	for _, p := range o.Phases(phases.Strategy(r.Strategy)) {
		one, begun, err := pagePhase(j, p, took)
		if err != nil {
			return d, err
		}
		for _, known := range r.Phases {
			if known.Phase == p.Number {
				one.Seconds = known.Seconds
			}
		}
		if begun {
			d.Phases = append(d.Phases, one)
		}
	}
	return d, nil
}

// pagePhase is one phase by the journal, and whether it was begun.
func pagePhase(j *state.Journal, p phases.Phase, took runrecord.Timings) (page.Phase, bool, error) {
	known, err := j.Phase(p.Number)
	if err != nil || known.Begun.IsZero() {
		return page.Phase{}, false, err
	}
	p = p.For(p.Begun(known)) // what the strategy does not say
	records, err := j.Records(p.Number)
	if err != nil {
		return page.Phase{}, false, err
	}
	titles := stepTitles(p)
	one := page.Phase{Number: p.Number, Name: p.Name, Title: p.Title, Why: p.Why, Begun: known.Begun, Completed: known.Completed,
		Spec: known.Spec, Declaration: known.Declaration, Tool: known.Tool}
	for _, rec := range records {
		t := took.Of(rec.Phase, rec.Step, rec.Target)
		step := page.Step{Record: rec, Title: titles[rec.Step], Total: t.Total, Waited: t.Waited}
		if step.Title == "" { // of another version of this program
			step.Title = rec.Step
		}
		one.Standing = one.Standing || rec.Status.Touched() && !staysAsItIs(p, rec)
		switch rec.Status {
		case state.Verified:
			one.Did++
		case state.Satisfied:
			one.Found++
		case state.Undone:
			one.Undone++
		}
		one.Steps = append(one.Steps, step)
	}
	return one, true, nil
}

func stepTitles(p phases.Phase) map[string]string {
	titles := map[string]string{}
	for _, s := range p.Steps {
		titles[string(s.ID)] = s.Title
	}
	return titles
}
