package runrecord

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"hamigrate/migrate/probe"
	"hamigrate/state"
)

// counted is a record of one series with so many requests, half of which
// failed.
func counted(path, from string, requests int) probe.Record {
	return probe.Record{IntervalMs: 100, Series: []probe.SeriesRecord{{
		Path: path, From: from, Kind: probe.KeptRead, Run: probe.Counts{Requests: requests, Failures: requests / 2},
	}}}
}

// places lists path, place and requests of a result, in its order.
func places(r *probe.Result) []string {
	var list []string
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			list = append(list, fmt.Sprintf("%s from %s: %d", p.Name, k.From, k.Requests))
		}
	}
	return list
}

func TestMeasurementsResult(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		records map[string]probe.Record
		want    []string
	}{
		"the operator's come first, whatever nodes are called": {map[string]probe.Record{
			"a1/x":         counted("service", "a1", 4),
			"operator/2":   counted("old-address", "operator", 2),
			"z1/x":         counted("service", "z1", 8),
			"operator-1/x": counted("service", "operator-1", 6),
		}, []string{"old-address from operator: 2", "service from a1: 4", "service from operator-1: 6", "service from z1: 8"}},
		"runs are added up, in the order in which they were": {map[string]probe.Record{
			"operator/b": {IntervalMs: 500, Series: append(counted("load-balancer", "operator", 2).Series, counted("old-address", "operator", 4).Series...)},
			"operator/a": counted("old-address", "operator", 2),
		}, []string{"old-address from operator: 6", "load-balancer from operator: 2"}},
		"two agents of one node, after the first one died": {map[string]probe.Record{
			"w1/a": counted("service", "w1", 10), "w1/b": counted("service", "w1", 20), "cp1/a": counted("service", "cp1", 6),
		}, []string{"service from cp1: 6", "service from w1: 30"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Maps have no order: once could be luck.
			for range 20 {
				if got := places(Measurements{Records: tt.records}.Result()); !slices.Equal(got, tt.want) {
					t.Fatalf("%q, want %q", got, tt.want)
				}
			}
		})
	}
	if r := (Measurements{}).Result(); r != nil {
		t.Errorf("a result of nothing: %+v", r)
	}
}

// TestMeasurementsKept: what an agent tells again, in this run or after a
// kill in the next one, takes the place of what it told before.
func TestMeasurementsKept(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "j"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	// begin is a run: it goes on from what the journal has.
	begin := func() *Measurements {
		ms := &Measurements{}
		if _, err := j.GetBlob(MeasurementsBlob, ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	keep := func(ms *Measurements, key string, own, node int) {
		t.Helper()
		err := ms.Keep(j, map[string]probe.Record{"w1/agent": counted("service", "w1", node)},
			map[string]probe.Record{OperatorKey + key: counted("old-address", "operator", own)})
		if err != nil {
			t.Fatal(err)
		}
	}
	first := begin()
	keep(first, "1", 10, 12)
	keep(first, "1", 20, 24) // and here it is killed
	keep(begin(), "2", 2, 30)

	var kept Measurements
	if _, err := j.GetBlob(MeasurementsBlob, &kept); err != nil {
		t.Fatal(err)
	}
	r := kept.Result()
	if got, want := places(r), []string{"old-address from operator: 22", "service from w1: 30"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r.Requests() != 52 || r.Failures() != 26 {
		t.Errorf("%d requests, %d failures", r.Requests(), r.Failures())
	}
}
