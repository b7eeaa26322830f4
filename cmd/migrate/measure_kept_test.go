package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/runrecord"
	"hamigrate/state"
)

// recordOf is a record of one series with so many requests, half of which
// failed.
func recordOf(path, from string, requests int) probe.Record {
	return probe.Record{IntervalMs: 100, Series: []probe.SeriesRecord{{
		Path: path, From: from, Kind: probe.KeptRead, Run: probe.Counts{Requests: requests, Failures: requests / 2},
	}}}
}

// pathsOf lists path, place and requests of a result, in its order.
func pathsOf(r *probe.Result) []string {
	var list []string
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			list = append(list, fmt.Sprintf("%s from %s: %d", p.Name, k.From, k.Requests))
		}
	}
	return list
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
	run := func(key string) *measurement {
		m := &measurement{j: j, key: runrecord.OperatorKey + key, saved: runrecord.Measurements{Records: map[string]probe.Record{}}}
		if _, err := j.GetBlob(runrecord.MeasurementsBlob, &m.saved); err != nil {
			t.Fatal(err)
		}
		return m
	}
	keep := func(m *measurement, own, node int) {
		t.Helper()
		err := m.keep(map[string]probe.Record{"w1/agent": recordOf("service", "w1", node)},
			map[string]probe.Record{m.key: recordOf("old-address", "operator", own)})
		if err != nil {
			t.Fatal(err)
		}
	}
	first := run("1")
	keep(first, 10, 12)
	keep(first, 20, 24) // and here it is killed
	second := run("2")
	keep(second, 2, 30)

	var kept runrecord.Measurements
	if _, err := j.GetBlob(runrecord.MeasurementsBlob, &kept); err != nil {
		t.Fatal(err)
	}
	r := kept.Result()
	if got, want := pathsOf(r), []string{"old-address from operator: 22", "service from w1: 30"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r.Requests() != 52 || r.Failures() != 26 {
		t.Errorf("%d requests, %d failures", r.Requests(), r.Failures())
	}
}
