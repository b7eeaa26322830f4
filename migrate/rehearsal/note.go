package rehearsal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/report"
	"hamigrate/migrate/show"
	"hamigrate/phases"

	"github.com/google/renameio/v2"
)

// Note is what is kept of the last rehearsal of a spec, in a file beside
// the journal: whether what is about to run was practised, and how long each
// step took then.
type Note struct {
	At                time.Time         `json:"at"`
	Tool              string            `json:"tool"`
	Spec              string            `json:"spec"` // fingerprint of the spec that it was like
	KubernetesVersion string            `json:"kubernetesVersion"`
	Strategy          string            `json:"strategy"`
	Declarations      map[string]string `json:"declarations"` // fingerprints of the step lists, by phase
	Result            string            `json:"result"`
	Requests          int               `json:"requests"`
	Failures          int               `json:"failures"`
	Lacks             []string          `json:"lacks"` // what the playground had not of the real cluster
	Steps             []rehearsedStep   `json:"steps"`
}

// rehearsedStep is how long a step took on one target, on average.
type rehearsedStep struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// NoteFile is the file that belongs to a journal.
func NoteFile(journal string) string {
	return strings.TrimSuffix(journal, ".journal") + ".rehearsal.json"
}

// NewNote keeps what a later plan wants to know of a rehearsal.
// strategy and all are those that were rehearsed, tool is this program's version, and lacks
// what the playground had not of the real cluster.
func NewNote(spec cluster.Spec, strategy phases.Strategy, all []phases.Phase, r report.Report, lacks []string, tool string) Note {
	out := Note{At: time.Now().UTC().Truncate(time.Second), Tool: tool, Spec: spec.Fingerprint, KubernetesVersion: r.KubernetesVersion,
		Strategy: string(strategy), Result: r.Result, Lacks: lacks, Declarations: declarations(all)}
	if r.Probe != nil {
		out.Requests, out.Failures = r.Probe.Requests(), r.Probe.Failures()
	}
	sum, n := map[string]float64{}, map[string]int{}
	var order []string
	for _, p := range r.Phases {
		for _, s := range p.Steps {
			if s.TotalSeconds == 0 || s.Status != "verified" {
				continue // found done: it says nothing of what doing it takes
			}
			if n[s.ID] == 0 {
				order = append(order, s.ID)
			}
			sum[s.ID] += s.TotalSeconds
			n[s.ID]++
		}
	}
	for _, id := range order {
		out.Steps = append(out.Steps, rehearsedStep{id, sum[id] / float64(n[id])})
	}
	return out
}

func declarations(all []phases.Phase) map[string]string {
	out := map[string]string{}
	for _, p := range all {
		out[p.Name] = migrate.Fingerprint(p)
	}
	return out
}

// Keep writes it beside the journal of the real cluster.
func Keep(journal string, r Note) error {
	var text bytes.Buffer
	if err := show.WriteJSON(&text, r); err != nil {
		return err
	}
	if err := renameio.WriteFile(NoteFile(journal), text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keeping what was rehearsed: %w", err)
	}
	return nil
}

// Last reads it; nil where nothing was rehearsed.
func Last(journal string) (*Note, error) {
	const most = 1 << 20
	text, err := inputfile.Kind{What: "note of what was rehearsed", Max: most}.Read(NoteFile(journal))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Note
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s is not what `migrate rehearse` wrote: remove it, and rehearse again: %w", NoteFile(journal), err)
	}
	return &r, nil
}

// Expected is how long a step takes on one target; 0 where that is not known.
func (r *Note) Expected(step migrate.StepID) time.Duration {
	if r == nil {
		return 0
	}
	i := slices.IndexFunc(r.Steps, func(s rehearsedStep) bool { return s.Step == string(step) })
	if i < 0 {
		return 0
	}
	return time.Duration(r.Steps[i].Seconds * float64(time.Second))
}

// Run is what a rehearsal is compared with.
type Run struct {
	Spec       cluster.Spec
	Phases     []phases.Phase
	Kubernetes string // the real cluster's version, "" where it is not known
	Tool       string // this program's version
}

// Say is one sentence: whether what is about to run was rehearsed, when, and
// what is different since. like are the flags of a rehearsal of it.
func (r *Note) Say(like string, now Run) string {
	if r == nil {
		return fmt.Sprintf("This was not rehearsed: `migrate rehearse %s` practises it on a playground like this cluster.", like)
	}
	text := fmt.Sprintf("Rehearsed %s on Kubernetes %s: %s", r.At.UTC().Format(time.DateTime+" UTC"), r.KubernetesVersion, r.Result)
	if r.Requests > 0 {
		text += fmt.Sprintf(", %d of %d requests failed", r.Failures, r.Requests)
	}
	text += "."
	if other := r.differs(now); len(other) > 0 {
		text += " But that was something else: " + strings.Join(other, "; ") + "."
	}
	if len(r.Lacks) > 0 {
		text += " The playground did not have: " + strings.Join(r.Lacks, "; ") + "."
	}
	return text
}

// differs lists why a rehearsal is not one of what is about to run.
func (r *Note) differs(now Run) []string {
	var other []string
	if r.Spec != now.Spec.Fingerprint {
		other = append(other, "the spec has changed since")
	}
	for _, p := range now.Phases {
		if r.Declarations[p.Name] != migrate.Fingerprint(p) {
			other = append(other, fmt.Sprintf("phase %d has other steps now (migrate %s then, %s now; strategy %s then)", p.Number, r.Tool, now.Tool, r.Strategy))
		}
	}
	if now.Kubernetes != "" && minor(now.Kubernetes) != minor(r.KubernetesVersion) {
		other = append(other, fmt.Sprintf("the cluster runs Kubernetes %s", now.Kubernetes))
	}
	return other
}

// minor is "1.33" of "v1.33.13".
func minor(v string) string {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return v
	}
	return parts[0] + "." + parts[1]
}
