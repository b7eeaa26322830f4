package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases/preflight"
	"hamigrate/state"
)

// TestAReasonIsToldOnce: a host that is not reached is why the run ended and why
// nothing is seen of the API and of etcd.
func TestAReasonIsToldOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("connecting to cp1: connection refused")
	c := &ending{told: &migrate.StepError{Err: cause}}
	for what, err := range map[string]error{
		"not seen, for the same reason": cause,
		"not seen: others":              errors.New("others\nand more"),
	} {
		if got := c.because("not seen", err); got != what {
			t.Errorf("%s, want %s", got, what)
		}
	}
	reset := &ending{told: errors.New("read tcp 192.0.2.1:40001->192.0.2.11:22: connection reset")}
	if got := reset.because("not seen", errors.New("read tcp 192.0.2.1:40002->192.0.2.11:22: connection reset")); got != "not seen, for the same reason" {
		t.Error(got)
	}
	wider := &ending{told: cause}
	if got := wider.because("is not ready", fmt.Errorf("reaching the API: %w", cause)); got != "is not ready, for the same reason" {
		t.Error(got)
	}
}

// A wait that ended as asked is a stop, by exit code 4 and by what is said at
// the end, also where it is told why the run was to stop.
func TestAStoppedWaitIsAStop(t *testing.T) {
	t.Parallel()
	where := migrate.Where{Phase: 1, Step: "loadbalancer/kube-proxy", Target: "cluster"}
	for want, status := range map[string]state.Status{
		"nothing is half done, and the next run verifies it": state.Applied,
		"the next run checks and continues from there":       state.Undoing,
	} {
		err := fmt.Errorf("another run has the cluster: %w", &migrate.StoppedError{Where: where, Op: migrate.OpVerify, Status: status, Last: errors.New("1 of 3 nodes")})
		if got := code(err); got != 4 {
			t.Errorf("%s: exit code %d", status, got)
		}
		if said := HowItEnded(err); !strings.Contains(said, want) || !strings.Contains(said, "while loadbalancer/kube-proxy on cluster was waited for") {
			t.Errorf("%s: %q", status, said)
		}
		if !strings.Contains(err.Error(), "1 of 3 nodes") {
			t.Errorf("%v", err)
		}
	}
}

// TestPreflightBlocks: the sentences name the check, the host and the way on,
// and the exit code is that of a check that blocks.
func TestPreflightBlocks(t *testing.T) {
	t.Parallel()
	blocking := blockingResults().Blocking()
	if len(blocking) != 1 {
		t.Fatalf("blocking: %+v", blocking)
	}
	for _, err := range []error{&PreflightError{blocking}, Refuse(2, blocking)} {
		if code(err) != 3 {
			t.Errorf("exit code %d: %v", code(err), err)
		}
		for _, word := range []string{"ClockSkew", "e1", "3s ahead", "ignore"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q is not in: %v", word, err)
			}
		}
	}
	if b := new(migrate.BlockedError); !errors.As(Refuse(2, blocking), &b) || b.Phase != 2 || !strings.Contains(b.Remedy, "--ignore-preflight ClockSkew") {
		t.Errorf("a run is refused with %v", Refuse(2, blocking))
	}
	if err := Refuse(2, nil); err != nil {
		t.Errorf("nothing blocks, and a run is refused: %v", err)
	}
}

// blockingResults are what the tests here print.
func blockingResults() preflight.Report {
	return preflight.Report{Hosts: []string{"cp1", "e1", "e2"}, Seconds: 1.25, Results: []preflight.Result{
		{Number: 1, Check: "Login", Host: "cp1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{1, 2, 3}},
		{Number: 1, Check: "Login", Host: "e1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{2, 3}},
		{Number: 2, Check: "ClockSkew", Host: "e1", Severity: preflight.Blocking, Seen: "its clock is 3s ahead", Phases: []int{1, 2, 3}, Why: "Certificates.", Remedy: "set it"},
		{Number: 6, Check: "MachineID", Host: "cluster", Severity: preflight.OK, Seen: "3 nodes have one each", Phases: []int{1}},
		{Number: 25, Check: "EtcdSize", Host: "cluster", Severity: preflight.Blocking, Seen: "it is full", Phases: []int{2}, Why: "Quota.", Remedy: "defrag", Ignored: true},
	}}
}

// code is the exit code of an error.
func code(err error) int { return int(OutcomeOf(err)) }

// TestExitCodesOfAWayBack: a script must tell "all is as before" from "a human
// has to look".
func TestExitCodesOfAWayBack(t *testing.T) {
	t.Parallel()
	where, broken := migrate.Where{Phase: 2, Step: "etcd/repoint-apiserver", Target: "cp1"}, errors.New("it broke")
	for want, err := range map[int]error{
		1: &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: broken},
		5: &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: broken, Unwound: &migrate.Unwound{}},
		6: &migrate.StepError{Where: where, Op: migrate.OpVerify, Err: broken, Unwound: &migrate.Unwound{Err: broken}},
	} {
		if got := code(err); got != want {
			t.Errorf("exit code %d, want %d: %v", got, want, err)
		}
	}
	if got := code(&migrate.StepError{Where: where, Op: migrate.OpUndo, Err: broken}); got != 6 {
		t.Errorf("a rollback that failed has exit code %d", got)
	}
}

// TestExitCodes holds the codes that need a cluster to be seen from outside.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	where := migrate.Where{Phase: 2, Step: "etcd/promote", Target: "e1"}
	for _, c := range []struct {
		name string
		err  error
		code int
	}{
		{"done", nil, 0},
		{"anything else", errors.New("no route to host"), 1},
		{"a step that failed", &migrate.StepError{Where: where, Op: migrate.OpApply, Err: errors.New("x")}, 1},
		{"changes pending", ErrChangesPending, 2},
		{"blocked", &migrate.BlockedError{Where: where, Reason: "x"}, 3},
		{"blocked, deep inside", fmt.Errorf("running: %w", &migrate.BlockedError{Where: where}), 3},
		{"stopped between two steps", migrate.ErrStopped, 4},
		{"another phase's name typed", fmt.Errorf("that is not it; %w", migrate.ErrStopped), 4},
		{"stopped, and then taking the playground down failed", errors.Join(migrate.ErrStopped, errors.New("x")), 4},
		{"locked", &state.LockedError{Path: "x"}, 7},
		{"interrupted", &migrate.InterruptedError{Where: where, Cause: context.Canceled}, 130},
		{"interrupted before a step", fmt.Errorf("connecting: %w", context.Canceled), 130},
	} {
		if got := code(c.err); got != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.code)
		}
	}
}
