// Package page tells people what a migration did: as one HTML page that needs
// nothing but itself, and as Markdown for a ticket. It is given what the
// journal holds and looks nowhere else.
package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/state"
)

// Data is what the journal holds of one migration. Its texts hold no secret:
// the journal has none. Times are shown in UTC.
type Data struct {
	Cluster           string
	Identity          string // what the journal was bound to: the cluster's own ID
	KubernetesVersion string
	Strategy          string
	Result            string // "done", "rolled-back", "failed"
	Tool              string // the version of this program that writes the page
	StartedAt         time.Time
	Seconds           float64 // of all runs together
	TwoVoterSeconds   float64
	Phases            []Phase
	Runs              []state.Run
	Log               []state.LogEntry
	Backups           []Backup
	HostKeys          []HostKey
	Probe             *probe.Result // nil: nothing was measured
}

// Phase is one phase that was begun, with its steps in the order in which
// they were begun.
type Phase struct {
	Number             int
	Name, Title, Why   string
	Seconds            float64
	Begun, Completed   time.Time
	Spec, Declaration  string // fingerprints
	Tool               string // the version of this program that began it
	Steps              []Step
	Did, Found, Undone int // steps that are done by us, were done before, were undone
	// Standing says that something is left which a rollback would undo: what it
	// leaves for a reason is not counted.
	Standing bool
}

// Step is one step on one host.
type Step struct {
	state.Record
	Title  string
	Total  time.Duration // with the checks before and the invariants around it
	Waited time.Duration // the part of it that others' programs took
}

// Backup is one that a run took.
type Backup struct {
	Phase       int
	At          time.Time
	Folder      string
	EtcdVersion string
	Revision    int64
	Keys, Files int
	Bytes       int64
	Hash        string
}

// HostKey is one that was accepted because the operator said so beforehand,
// not because it was known.
type HostKey struct {
	Host        string    `json:"host"`
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"`
	At          time.Time `json:"at"`
}

// Number is one of the three that stand at the top.
type Number struct {
	Value, Unit, Text string
	Good              bool
}

// Numbers are what a person asks first: what failed, for how long, and what
// it took.
func (d Data) Numbers() []Number {
	did, hosts := d.did()
	work := Number{Value: duration(d.Seconds), Text: fmt.Sprintf("of work: %s on %s", count(did, "step"), count(hosts, "host")), Good: true}
	if d.Probe == nil {
		return []Number{
			{Value: "–", Text: "requests: nothing was measured"},
			{Value: "–", Text: "longest gap: nothing was measured"}, work,
		}
	}
	gap := d.Probe.LongestGap().Seconds()
	return []Number{
		{Value: thousands(d.Probe.Failures()), Text: fmt.Sprintf("of %s requests of the API's clients failed", thousands(d.Probe.Requests())), Good: d.Probe.Failures() == 0},
		{Value: fmt.Sprintf("%.1f", gap), Unit: "s", Text: "was the longest time in which clients did not reach the API", Good: gap == 0},
		work,
	}
}

// did counts the steps that changed something and the hosts they did it on.
func (d Data) did() (steps, hosts int) {
	seen := map[string]bool{}
	for _, p := range d.Phases {
		for _, s := range p.Steps {
			if s.Attempts > 0 {
				steps++
				seen[s.Target] = true
			}
		}
	}
	delete(seen, clusterTarget)
	return steps, len(seen)
}

// clusterTarget is the target of steps that change objects and no host.
const clusterTarget = "cluster"

// ResultText is the result as a person says it.
func (d Data) ResultText() string {
	switch d.Result {
	case "done":
		return "done"
	case "rolled-back":
		return "undone"
	}
	return "not finished"
}

// Ended is when the journal's last entry was written.
func (d Data) Ended() time.Time {
	end := d.StartedAt
	for _, r := range d.Runs {
		end = later(end, r.End)
	}
	for _, e := range d.Log {
		end = later(end, e.At)
	}
	return end
}

// Operators are the people whose runs the journal has, each once.
func (d Data) Operators() string {
	var who []string
	for _, r := range d.Runs {
		if !slices.Contains(who, r.Who) {
			who = append(who, r.Who)
		}
	}
	return strings.Join(who, ", ")
}

// Changed are the steps with texts that they changed.
func (p Phase) Changed() []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return len(s.Edits) == 0 })
}

// State says how far a phase is. One that is being undone is complete no
// more from its first step on.
func (p Phase) State() string {
	switch {
	case !p.Completed.IsZero():
		return "done"
	case p.Undone > 0 && !p.Standing:
		return "undone"
	}
	return "not finished"
}

// TakenBack are the steps that were undone, the latest first.
func (d Data) TakenBack() []Step {
	var list []Step
	for _, p := range d.Phases {
		for _, s := range p.Steps {
			if s.Status == state.Undone || s.Status == state.Undoing {
				list = append(list, s)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Step) int { return b.Ended.Compare(a.Ended) })
	return list
}

// PhasesBackwards are the phases as a rollback takes them.
func (d Data) PhasesBackwards() []Phase {
	list := slices.Clone(d.Phases)
	slices.SortFunc(list, func(a, b Phase) int { return cmp.Compare(b.Number, a.Number) })
	return list
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// duration writes seconds as people time work.
func duration(s float64) string {
	switch {
	case s < 60:
		return fmt.Sprintf("%.1f s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)%3600/60)
}

// thousands writes a number with thin spaces, as 48 211.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	var out strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteRune('\u202f')
		}
		out.WriteRune(r)
	}
	return out.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// when writes a time in UTC; a zero time is a dash.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
