package console

import (
	"strings"
	"testing"

	"hamigrate/phases/audit"
)

func TestPrintAudit(t *testing.T) {
	t.Parallel()
	many := make([]string, 20)
	for i := range many {
		many[i] = "Secret n/" + strings.Repeat("x", i+1) + ", k"
	}
	r := audit.Report{Cluster: "small", Seconds: 1.25, Unread: []string{"w9: connection refused"},
		Need: audit.Need{Advice: audit.NotNeeded, Reasons: []string{"It is small.", "Ask yourself."}},
		Results: []audit.Result{
			{Number: 1, Point: "APIServer", Title: "The API server", State: audit.Single, Seen: "1: 10.0.0.1", Where: []string{"10.0.0.1"}, Loss: "No change.", Lasts: "an hour", RemovedBy: "phases 1 and 3"},
			{Number: 5, Point: "LoadBalancer", Title: "The load balancer", State: audit.Adds, Seen: "there is none yet", Loss: "No API.", Lasts: "an hour", RemovedBy: "no", Otherwise: "two of them"},
			{Number: 6, Point: "CoreDNS", Title: "CoreDNS", State: audit.Redundant, Seen: "2 ready pods on a, b", Where: []string{"a", "b"}, Loss: "No names.", Lasts: "an hour", RemovedBy: "phase 3"},
			{Number: 10, Point: "ConfigMaps", Title: "ConfigMaps", State: audit.Single, Seen: "2", Where: []string{"ConfigMap a/b, c", "ConfigMap kube-system/kube-proxy, d"}, Remains: []string{"ConfigMap a/b, c"}, Loss: "It asks one.", Lasts: "an hour", RemovedBy: "phase 1", Otherwise: "set the others"},
			{Number: 11, Point: "Secrets", Title: "Secrets", State: audit.Single, Seen: "20", Where: many, Remains: many, Loss: "It asks one.", Lasts: "an hour", RemovedBy: "no", Otherwise: "do it"},
		}}
	var out strings.Builder
	if err := PrintAudit(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1  1  APIServer           The API server: 1: 10.0.0.1\n       · 10.0.0.1\n       its loss:    No change.\n       for:         an hour\n       removed by:  phases 1 and 3\n",
		"+  5  LoadBalancer        The load balancer: there is none yet\n",
		"removed by:  nothing: the migration is what adds it\n       what does:   two of them\n",
		"✓  6  CoreDNS             CoreDNS: 2 ready pods on a, b\n1 10 ",
		"       · ConfigMap a/b, c (the migration leaves it)\n       · ConfigMap kube-system/kube-proxy, d\n",
		"removed by:  phase 1, but for the 1 that it leaves\n",
		"       · and 8 more: -o json lists all\n",
		"removed by:  not by this migration\n",
		"? not read: w9: connection refused\n",
		"\n5 points in 1.2 s: 3 single, 1 added by the migration, 1 redundant, 0 unknown. Of the single ones the migration removes 1; 2 stay, whole or in part.\n",
		"\nHigh availability may not be needed here:\n  - It is small.\n  - Ask yourself.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
