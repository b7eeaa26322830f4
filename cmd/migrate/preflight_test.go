package main

import (
	"errors"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases/preflight"
)

// results are what the tests here print.
func results() preflight.Report {
	return preflight.Report{Hosts: []string{"cp1", "e1", "e2"}, Seconds: 1.25, Results: []preflight.Result{
		{Number: 1, Check: "Login", Host: "cp1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{1, 2, 3}},
		{Number: 1, Check: "Login", Host: "e1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{2, 3}},
		{Number: 2, Check: "ClockSkew", Host: "e1", Severity: preflight.Blocking, Seen: "its clock is 3s ahead", Phases: []int{1, 2, 3}, Why: "Certificates.", Remedy: "set it"},
		{Number: 6, Check: "MachineID", Host: "cluster", Severity: preflight.OK, Seen: "3 nodes have one each", Phases: []int{1}},
		{Number: 25, Check: "EtcdSize", Host: "cluster", Severity: preflight.Blocking, Seen: "it is full", Phases: []int{2}, Why: "Quota.", Remedy: "defrag", Ignored: true},
	}}
}

func TestPrintPreflight(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := printPreflight(&out, results()); err != nil {
		t.Fatal(err)
	}
	want := `✓  1  Login                 Commands run as root on every host (2 hosts)
✗  2  ClockSkew             All clocks agree
      ✗ e1: its clock is 3s ahead
          matters for phase 1, 2, 3: Certificates.
          do: set it
✓  6  MachineID             Every node has a machine ID of its own: 3 nodes have one each
! 25  EtcdSize              etcd's database is well below its quota
      ✗ cluster: it is full (ignored)
          matters for phase 2: Quota.
          do: defrag

4 checks on 3 hosts in 1.2 s: 0 warnings, 1 blocking.
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

// TestPreflightBlocks: the sentences name the check, the host and the way on,
// and the exit code is that of a check that blocks.
func TestPreflightBlocks(t *testing.T) {
	t.Parallel()
	blocking := results().Blocking()
	if len(blocking) != 1 {
		t.Fatalf("blocking: %+v", blocking)
	}
	for _, err := range []error{&preflightError{blocking}, refuse(2, blocking)} {
		if exitCode(err) != 3 {
			t.Errorf("exit code %d: %v", exitCode(err), err)
		}
		for _, word := range []string{"ClockSkew", "e1", "3s ahead", "ignore"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q is not in: %v", word, err)
			}
		}
	}
	if b := new(migrate.BlockedError); !errors.As(refuse(2, blocking), &b) || b.Phase != 2 || !strings.Contains(b.Remedy, "--ignore-preflight ClockSkew") {
		t.Errorf("a run is refused with %v", refuse(2, blocking))
	}
	if err := refuse(2, nil); err != nil {
		t.Errorf("nothing blocks, and a run is refused: %v", err)
	}
}
