package support

import (
	"os"

	"hamigrate/migrate/report"
	"hamigrate/state"
)

// AddJournal adds the journal, with those blobs of it, and the report that is made of
// it; phasesOf are the migration's.
func (a *Archive) AddJournal(path string, phasesOf report.Declared, blobs ...string) {
	if _, err := os.Stat(path); err != nil {
		a.Lacks("journal.json, report.json", err)
		return
	}
	j, err := state.OpenReadOnly(path, state.Options{Tool: a.tool})
	if err != nil {
		a.Lacks("journal.json, report.json", err)
		return
	}
	defer j.Close()
	dump, err := dumpJournal(j, blobs)
	if err != nil {
		a.Lacks("journal.json", err)
	} else {
		a.Add("journal.json", "the journal: runs, phases, records with what was there before, history", dump)
	}
	r, err := report.Make(j, phasesOf)
	if err != nil {
		a.Lacks("report.json", err)
		return
	}
	a.Add("report.json", "what `migrate report -o json` prints", r)
}

// journalDump is the journal as JSON.
type journalDump struct {
	Cluster string              `json:"cluster"`
	Runs    []state.Run         `json:"runs"`
	Phases  map[int]state.Phase `json:"phases"`
	Records []state.Record      `json:"records"`
	History []state.LogEntry    `json:"history"`
	Kept    map[string]any      `json:"kept"`
}

func dumpJournal(j *state.Journal, blobs []string) (journalDump, error) {
	d := journalDump{Phases: map[int]state.Phase{}, Kept: map[string]any{}}
	var err error
	if d.Cluster, err = j.Cluster(); err != nil {
		return d, err
	}
	if d.Runs, err = j.Runs(); err != nil {
		return d, err
	}
	if d.History, err = j.Log(); err != nil {
		return d, err
	}
	for _, n := range []int{1, 2, 3, 8, 9} { // 8 renews certificates, 9 restores
		if d.Phases[n], err = j.Phase(n); err != nil {
			return d, err
		}
		records, err := j.Records(n)
		if err != nil {
			return d, err
		}
		d.Records = append(d.Records, records...)
	}
	for _, name := range blobs {
		var v any
		if known, err := j.GetBlob(name, &v); err != nil {
			return d, err
		} else if known {
			d.Kept[name] = v
		}
	}
	return d, nil
}
