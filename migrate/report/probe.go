package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"
)

// printProbe prints what clients saw, a line for each way and kind.
func printProbe(w io.Writer, p probe.Result) {
	t := tabular.New(w, "path", "from", "kind", "requests", "failed", "longest gap", "p50 ms", "p99 ms", "quiet p99", "max ms")
	for _, path := range p.Paths {
		for _, k := range path.Kinds {
			quiet := "–"
			if k.QuietP99Ms != nil {
				quiet = fmt.Sprintf("%.1f", *k.QuietP99Ms)
			}
			t.Add(path.Name, k.From, k.Kind, k.Requests, k.Failures, fmt.Sprintf("%.1f s", k.LongestGapSeconds),
				fmt.Sprintf("%.1f", k.P50Ms), fmt.Sprintf("%.1f", k.P99Ms), quiet, fmt.Sprintf("%.1f", k.MaxMs))
		}
	}
	t.Render()
	for _, line := range p.Failed() {
		show.Fprintln(w, line)
	}
	for _, note := range p.Notes() {
		show.Fprintln(w, note)
	}
	if p.Leftover != "" {
		show.Fprintf(w, "The probe's namespace is still there: %s\n", p.Leftover)
	}
}

// during says, by the journal's log, which steps were under way then; between
// two steps, which one was before it.
func during(log []state.LogEntry, at time.Time) string {
	var open []state.LogEntry
	var last state.LogEntry
	for _, e := range log {
		if e.At.After(at) {
			break
		}
		open = slices.DeleteFunc(open, func(o state.LogEntry) bool { return o.Key == e.Key })
		switch e.To {
		case state.Started, state.Applied, state.Undoing:
			open = append(open, e)
		}
		last = e
	}
	switch {
	case len(open) > 0:
		var names []string
		for _, e := range open {
			names = append(names, stepAt(e))
		}
		return strings.Join(names, ", ")
	case last.Step != "":
		return "after " + stepAt(last)
	}
	return "before the first step"
}

func stepAt(e state.LogEntry) string {
	said := e.Step + " on " + e.Target
	if e.To == state.Undoing || e.To == state.Undone || e.From == state.Undoing {
		said += ", undone"
	}
	return said
}

// printHostKeys prints them for a report.
func printHostKeys(w io.Writer, keys []sshhost.HostKey) {
	for _, k := range keys {
		show.Fprintf(w, "Nobody compared the host key of %s (%s): %s %s, accepted %s.\n",
			k.Host, k.Address, k.Type, k.Fingerprint, k.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
}
