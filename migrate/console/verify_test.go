package console

import (
	"strings"
	"testing"

	"hamigrate/migrate/run"
	"hamigrate/phases/verify"
)

func TestPrintVerify(t *testing.T) {
	t.Parallel()
	r := verify.Report{Cluster: "small", Hosts: []string{"cp1", "lb1"}, Seconds: 1.25, Results: []verify.Result{
		{Number: 1, Check: "Reached", Host: "cp1", OK: true, Seen: "commands run on it"},
		{Number: 1, Check: "Reached", Host: "lb1", OK: true, Seen: "commands run on it"},
		{Number: 7, Check: "EtcdMembers", Host: "cluster", OK: true, Seen: "3 voters of cluster c1, e1 leads"},
		{Number: 11, Check: "LoadBalancers", Host: "lb1", Seen: "it does not forward to 10.0.0.3:6443", Why: "One that knows a single one.", Remedy: "add it"},
	}}
	var out strings.Builder
	if err := PrintVerify(&out, r); err != nil {
		t.Fatal(err)
	}
	want := `✓  1  Reached                Every host is reached (2 hosts)
✓  7  EtcdMembers            etcd has one voter on each etcd host, and no other member: 3 voters of cluster c1, e1 leads
✗ 11  LoadBalancers          Each load balancer forwards to every API server, and has loaded that
      ✗ lb1: it does not forward to 10.0.0.3:6443
          matters: One that knows a single one.
          do: add it

3 checks on 2 hosts in 1.2 s: 1 check fails.
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	err := &run.DegradedError{Bad: r.Bad()}
	if run.OutcomeOf(err) != 6 || !strings.Contains(err.Error(), "check 11 LoadBalancers, on lb1: it does not forward to 10.0.0.3:6443. Do") {
		t.Errorf("exit code %d: %v", run.OutcomeOf(err), err)
	}
	out.Reset()
	r.Results = append(r.Results[:3], verify.Result{Number: 24, Check: "CIS", Host: "cp1", OK: true, Warning: true, Item: "1.1.13", Seen: "CIS 1.1.13: a has mode 644", Why: "It is a key.", Remedy: "`chmod 600 a`"},
		verify.Result{Number: 24, Check: "CIS", Host: "cp1", OK: true, Item: "1.1.14", Seen: "CIS 1.1.14: a is owned by root:root"})
	if err := PrintVerify(&out, r); err != nil || !strings.Contains(out.String(), "benchmark\n      ! cp1: CIS 1.1.13: a has mode 644\n") || !strings.Contains(out.String(), "\n✓ 24  CIS") || strings.Contains(out.String(), "1.1.14") || len(r.Bad()) > 0 {
		t.Errorf("%v, got\n%s", err, out.String())
	}
	out.Reset()
	r.Results = r.Results[:3]
	if err := PrintVerify(&out, r); err != nil || !strings.HasSuffix(out.String(), ": the cluster is what the migration left.\n") {
		t.Errorf("%v, got\n%s", err, out.String())
	}
}
