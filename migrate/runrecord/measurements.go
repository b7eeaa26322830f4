package runrecord

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"hamigrate/migrate/probe"
	"hamigrate/state"
)

// Measurements is the journal's blob of what was measured: one record for the
// operator's side of each run, one for each agent on a node.
type Measurements struct {
	Records map[string]probe.Record `json:"records"`
	// Left: pods were started, and were not seen gone yet.
	Left bool `json:"left"`
}

const (
	MeasurementsBlob = "measurements"
	// OperatorKey begins the keys of this program's own records.
	OperatorKey = "operator/"
)

// Keep writes records to the journal, in place of what their keys had: what an
// agent tells again is not a second time.
func (ms *Measurements) Keep(j *state.Journal, records ...map[string]probe.Record) error {
	if ms.Records == nil {
		ms.Records = map[string]probe.Record{}
	}
	for _, r := range records {
		maps.Copy(ms.Records, r)
	}
	return j.PutBlob(MeasurementsBlob, *ms)
}

// Result makes the figures of all runs.
func (ms Measurements) Result() *probe.Result {
	if len(ms.Records) == 0 {
		return nil
	}
	var list []probe.Record
	operator := func(key string) int {
		if strings.HasPrefix(key, OperatorKey) {
			return 0
		}
		return 1
	}
	keys := slices.SortedFunc(maps.Keys(ms.Records), func(a, b string) int {
		return cmp.Or(operator(a)-operator(b), strings.Compare(a, b))
	})
	for _, key := range keys {
		list = append(list, ms.Records[key])
	}
	r := probe.Results(list...)
	return &r
}
