package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// print writes the table of what was done and what came of it, and beside it
// every request that failed.
func (c *chaos) print(t *testing.T) {
	var table, failures strings.Builder
	fmt.Fprintln(&table, "| # | fault | point | it struck after | resumed in | exit codes before | requests | failed | away | end state |")
	fmt.Fprintln(&table, "|---|---|---|---|---|---|---|---|---|---|")
	requests, failed, kills := 0, 0, 0
	for i, r := range c.rows {
		name, point, resumed := "(none yet)", r.leg.String(), ""
		if r.step != "" {
			name, point, resumed = r.fault.name, r.point.String(), "(the next came first)"
		}
		if r.resumed > 0 {
			resumed = fmt.Sprintf("%.1f s", r.resumed.Seconds())
		}
		if name == killed.name {
			kills++
		}
		end := r.end
		if len(r.wrong) > 0 {
			end += "; " + strings.Join(r.wrong, "; ")
		}
		fmt.Fprintf(&table, "| %d | %s | %s | %s | %s | %s | %d | %d | %.1f s | %s |\n", i+1, name, point, r.landed, resumed,
			r.codesText(), r.seen.requests, len(r.seen.failures), r.seen.outage.Seconds(), end)
		requests += r.seen.requests
		failed += len(r.seen.failures)
		for _, f := range r.seen.failures {
			fmt.Fprintf(&failures, "%d (%s): %s\n", i+1, name, f)
		}
		if r.said != "" {
			fmt.Fprintf(&failures, "%d (%s): the run said: %s\n", i+1, name, r.said)
		}
	}
	fmt.Fprintf(&table, "\n%d kills; %d of %d requests failed in all.\n", kills, failed, requests)
	t.Logf("\n%s\n%s", table.String(), tail(failures.String(), 60))
	for name, text := range map[string]string{"chaos.md": table.String(), "chaos-failures.txt": failures.String()} {
		if err := os.WriteFile(filepath.Join(c.out, name), []byte(text), 0o600); err != nil {
			t.Errorf("keeping %s: %v", name, err)
		}
	}
}
