// Package docs keeps the pages for people true: a step that is not named, a
// link that leads nowhere or an example that is refused fails here.
package docs

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/audit"
	"hamigrate/phases/certs"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/preflight"
	"hamigrate/phases/restore"
	"hamigrate/phases/verify"

	"sigs.k8s.io/yaml"
)

// pages are the README and every page of this folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 8 {
		t.Fatalf("pages: %v, %v", files, err)
	}
	all := map[string]string{}
	for _, f := range append(files, filepath.Join("..", "README.md")) {
		all[f] = read(t, f)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestEveryStepIsNamed wants each step, of either strategy, in its phase's
// page, in the order in which it runs and under its own title, and in the
// table of what was changed.
func TestEveryStepIsNamed(t *testing.T) {
	t.Parallel()
	table := read(t, "troubleshooting.md")
	for file, list := range map[string][]phases.Phase{
		"phase-1-loadbalancer.md": eachBalancer(loadbalancer.Phase()),
		"phase-2-etcd.md":         {etcd.Phase().For(phases.Overlap.Choice()), etcd.Phase().For(phases.InPlace.Choice())},
		"phase-3-controlplane.md": {controlplane.Phase()},
	} {
		page := read(t, file)
		for _, p := range list {
			if !strings.HasPrefix(page, fmt.Sprintf("# Phase %d: ", p.Number)) {
				t.Errorf("%s does not begin with the phase's number", file)
			}
			stepsInOrder(t, file, page, p.Steps)
			for _, s := range p.Steps {
				if !strings.Contains(table, "| `"+string(s.ID)+"` |") {
					t.Errorf("troubleshooting.md: %s has no row in the table of changes", s.ID)
				}
			}
		}
	}
}

// eachBalancer is a phase with each kind of load balancer.
func eachBalancer(p phases.Phase) []phases.Phase {
	var out []phases.Phase
	for _, c := range p.Choices() {
		out = append(out, p.For(c))
	}
	return out
}

// TestEveryCheckIsDescribed wants each preflight check in its page, with what
// the program itself says of it.
func TestEveryCheckIsDescribed(t *testing.T) {
	t.Parallel()
	page, last := read(t, "preflight.md"), -1
	for _, c := range preflight.Checks() {
		text := fmt.Sprintf("### %d. %s\n\n**%s.** %s\n\nRemedy: %s.\n", c.Number, c.Name, c.Title, c.Why, c.Remedy)
		at := strings.Index(page, text)
		if at < last || at < 0 {
			t.Errorf("preflight.md lacks, or has not in its place:\n%s", text)
			continue
		}
		last = at
	}
}

// TestEveryCheckOfTheEndStateIsDescribed does the same for verify.
func TestEveryCheckOfTheEndStateIsDescribed(t *testing.T) {
	t.Parallel()
	page, last := read(t, "verify.md"), -1
	for i, c := range verify.Checks() {
		text := fmt.Sprintf("### %d. %s\n\n**%s.** %s\n\nRemedy: %s.\n", c.Number, c.Name, c.Title, c.Why, c.Remedy)
		at := strings.Index(page, text)
		if at <= last || c.Number != i+1 {
			t.Errorf("verify.md lacks, or has not in its place:\n%s", text)
			continue
		}
		last = at
	}
}

// TestEveryPointIsDescribed does the same for audit.
func TestEveryPointIsDescribed(t *testing.T) {
	t.Parallel()
	page, last := read(t, "audit.md"), -1
	for i, p := range audit.Points() {
		text := fmt.Sprintf("### %d. %s\n\n**%s.** %s\n\nFor how long: %s. Removed by the migration: ", p.Number, p.Name, p.Title, p.Loss, p.Lasts)
		if p.Otherwise != "" && !strings.Contains(page, p.Otherwise+".\n") {
			t.Errorf("audit.md lacks what does instead of %s", p.Name)
		}
		at := strings.Index(page, text)
		if at <= last || p.Number != i+1 {
			t.Errorf("audit.md lacks, or has not in its place:\n%s", text)
			continue
		}
		last = at
	}
}

// TestEveryStepOfTheRenewalIsNamed holds the page of certificates to its
// declaration.
func TestEveryStepOfTheRenewalIsNamed(t *testing.T) {
	t.Parallel()
	stepsInOrder(t, "certificates.md", read(t, "certificates.md"), certs.Phase(certs.Options{}).Steps)
}

// TestEveryStepOfTheRestoreIsNamed holds the page of the emergency door to
// its declaration.
func TestEveryStepOfTheRestoreIsNamed(t *testing.T) {
	t.Parallel()
	stepsInOrder(t, "restore.md", read(t, "restore.md"), restore.Phase(restore.Options{}).Steps)
}

func stepsInOrder(t *testing.T, file, page string, steps []phases.Step) {
	t.Helper()
	last, before := -1, migrate.StepID("")
	for _, s := range steps {
		heading := regexp.MustCompile(`(?m)^### \d+\. ` + regexp.QuoteMeta(s.Title) + "\n\n`" + regexp.QuoteMeta(string(s.ID)) + "`, on(ce| )")
		at := heading.FindStringIndex(page)
		switch {
		case at == nil && strings.Contains(page, "`"+string(s.ID)+"`"):
			t.Errorf("%s: %s stands under another title than %q", file, s.ID, s.Title)
		case at == nil:
			t.Errorf("%s: %s (%q) is not described", file, s.ID, s.Title)
		case at[0] < last:
			t.Errorf("%s: %s stands before %s and runs after it", file, s.ID, before)
		default:
			last, before = at[0], s.ID
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestLinksLeadSomewhere follows every relative link, to the heading.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(m[1], "#")
			to := file
			if target != "" {
				to = filepath.Join(filepath.Dir(file), target)
			}
			data, err := os.ReadFile(to)
			if err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(data)), anchor) {
				t.Errorf("%s: %s: there is no such heading", file, m[1])
			}
		}
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(prose(text), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

var fence = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")

// prose is a page without its fenced blocks.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

// TestExamplesAreSpecs gives every YAML example to the parser of specs.
func TestExamplesAreSpecs(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	found := 0
	for file, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "yaml" {
				continue
			}
			found++
			spec := filepath.Join(t.TempDir(), "migrate.yaml")
			if err := os.WriteFile(spec, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.Parse(spec); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found < 3 {
		t.Errorf("found %d examples only", found)
	}
}

// TestEveryFieldIsExplained takes the fields from the spec that says
// everything.
func TestEveryFieldIsExplained(t *testing.T) {
	t.Parallel()
	page := read(t, "spec.md")
	var full any
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join("..", "migrate", "cluster", "testdata", "full.yaml"))), &full); err != nil {
		t.Fatal(err)
	}
	var fields func(v any)
	fields = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				fields(item)
			}
		case map[string]any:
			for name, value := range v {
				row := regexp.MustCompile("(?m)^\\| `([a-zA-Z]+\\.)*" + name + "` \\|")
				if name != "metadata" && name != "spec" && !row.MatchString(page) {
					t.Errorf("spec.md has no row for %s", name)
				}
				fields(value)
			}
		}
	}
	fields(full)
}

// TestPagesThatTheProgramNamesAreThere: messages send people to pages.
func TestPagesThatTheProgramNamesAreThere(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`docs/[a-z0-9-]+\.md`)
	found := 0
	err := filepath.WalkDir("..", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(file) != ".go" {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, page := range named.FindAll(data, -1) {
			found++
			if _, err := os.Stat(filepath.Join("..", string(page))); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("found %d, %v", found, err)
	}
}

// TestWords holds the pages to the words of the field, to plain ones, and to
// what a reader elsewhere can follow.
func TestWords(t *testing.T) {
	t.Parallel()
	for file, text := range pages(t) {
		for word, why := range map[string]string{
			`\bmaster\b`:       "say first control-plane node",
			`\bslave\b`:        "say worker",
			`\bVIPs?\b`:        "say control-plane endpoint",
			`\bTODO\b|\bTBD\b`: "write it or leave it out",
			`(?i)\b(seamless|effortless|robust|powerful|blazing|cutting-edge|enterprise-grade|state-of-the-art|world-class|simply|easily)`: "say what it does",
			`(?i)\bissue #?\d+\b|(^|[\s(])#\d+\b`: "a reader elsewhere cannot look it up",
			`(^|[\s"'(=])/(work|home|Users)/`:     "a path of somebody's machine",
			`REHEARSAL|\?\?\?`:                    "a hole in the text",
			`(?i)\b(proxy|registry|index)\.(golang|npmjs|docker)\.[a-z]+|\bpypi\.org\b`: "no registry is named",
		} {
			for _, at := range regexp.MustCompile(word).FindAllStringIndex(text, -1) {
				line := 1 + bytes.Count([]byte(text[:at[0]]), []byte("\n"))
				t.Errorf("%s:%d: %q: %s", file, line, strings.TrimSpace(text[at[0]:at[1]]), why)
			}
		}
	}
}
