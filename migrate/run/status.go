package run

import (
	"context"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/state"
)

// StatusRow is one step on one target.
type StatusRow struct {
	Phase    int             `json:"phase"`
	Step     string          `json:"step"`
	Target   string          `json:"target"`
	Journal  state.Status    `json:"journal"`
	Ended    time.Time       `json:"ended,omitzero"`
	Error    string          `json:"error,omitempty"`
	Cluster  migrate.Verdict `json:"cluster,omitempty"`
	TrueNow  string          `json:"trueNow,omitempty"`
	StepName string          `json:"title"`
}

// Status lists the steps of phases, with what the journal says and, unless offline,
// what the cluster shows. Offline, only steps that were begun are known.
func Status(ctx context.Context, s *Session, list []phases.Phase, offline bool) ([]StatusRow, error) {
	j, err := s.ReadJournal()
	if err != nil {
		return nil, err
	}
	defer j.Close()
	rows := []StatusRow{}
	for _, p := range list {
		records, err := j.Records(p.Number)
		if err != nil {
			return nil, err
		}
		if offline {
			rows = append(rows, recordedRows(p, records)...)
			continue
		}
		recorded := map[state.Key]state.Record{}
		for _, r := range records {
			recorded[r.Key] = r
		}
		entries, err := migrate.Plan(ctx, s.Access, p, j)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			r := recorded[state.Key{Phase: p.Number, Step: string(e.Step), Target: e.Target}]
			rows = append(rows, StatusRow{Phase: p.Number, Step: string(e.Step), Target: e.Target, StepName: e.Title,
				Journal: e.Recorded, Ended: r.Ended, Error: r.Error, Cluster: e.Finding.Verdict, TrueNow: e.Finding.Reason})
		}
	}
	return rows, nil
}

func recordedRows(p phases.Phase, records []state.Record) []StatusRow {
	titles := map[string]string{}
	for _, step := range p.Steps {
		titles[string(step.ID)] = step.Title
	}
	var rows []StatusRow
	for _, r := range records {
		rows = append(rows, StatusRow{Phase: p.Number, Step: r.Step, Target: r.Target, StepName: titles[r.Step],
			Journal: r.Status, Ended: r.Ended, Error: r.Error})
	}
	return rows
}
