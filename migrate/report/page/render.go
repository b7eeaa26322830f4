package page

import (
	_ "embed" // the templates
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/state"

	"github.com/aymanbagabas/go-udiff"
)

//go:embed report.html.tmpl
var htmlText string

//go:embed report.md.tmpl
var markdownText string

// HTML writes the page. It loads nothing: its style is in it, and its
// Content-Security-Policy forbids everything else.
func HTML(w io.Writer, d Data) error {
	t, err := template.New("report").Funcs(template.FuncMap(functions())).Parse(htmlText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, d); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// Markdown writes the change record.
func Markdown(w io.Writer, d Data) error {
	t, err := texttemplate.New("report").Funcs(functions()).Parse(markdownText)
	if err != nil {
		return fmt.Errorf("reading the record's template: %w", err)
	}
	if err := t.Execute(w, d); err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	return nil
}

func functions() texttemplate.FuncMap {
	return texttemplate.FuncMap{
		"when":      when,
		"clock":     func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"duration":  duration,
		"seconds":   func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) },
		"thousands": thousands,
		"count":     count,
		"px":        func(f float64) string { return fmt.Sprintf("%.1f", f) },
		"ms":        func(f float64) string { return fmt.Sprintf("%.1f", f) },
		"quiet":     quiet,
		"quietNote": quietNote,
		"reasons":   reasons,
		"diff":      diffOf,
		"text":      diffText,
		"cell":      cell,
		"short":     short,
		"bad":       func(s state.Status) bool { return s == state.Failed || s == state.Started || s == state.Undoing },
		"megabytes": func(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) },
	}
}

// DiffLine is one line of a unified diff with what it is: "add", "del", "at"
// or nothing.
type DiffLine struct{ Class, Text string }

// diffOf is the unified diff of an edit without its two header lines: the
// object's name stands above it.
func diffOf(e state.Edit) []DiffLine {
	var list []DiffLine
	for line := range strings.Lines(udiff.Unified("", "", e.Before, e.After)) {
		line = strings.TrimSuffix(line, "\n")
		if len(list) == 0 && (strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++")) {
			continue
		}
		class := ""
		switch {
		case strings.HasPrefix(line, "@@"):
			class = "at"
		case strings.HasPrefix(line, "+"):
			class = "add"
		case strings.HasPrefix(line, "-"):
			class = "del"
		}
		list = append(list, DiffLine{class, line})
	}
	return list
}

// diffText is the same as a fenced block of Markdown. The fence is longer
// than any in the text.
func diffText(e state.Edit) string {
	var b strings.Builder
	for _, l := range diffOf(e) {
		b.WriteString(l.Text + "\n")
	}
	fence := "```"
	for strings.Contains(b.String(), fence) {
		fence += "`"
	}
	return fence + "diff\n" + b.String() + fence
}

// cell makes a text fit into one cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "`", "'").Replace(strings.TrimSpace(s))
}

func quiet(p *float64) string {
	if p == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", *p)
}

// quietNote compares what clients saw with what they saw before.
func quietNote(r *probe.Result) string {
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			if k.QuietP99Ms != nil {
				return "“Quiet” is the same measurement before anything was changed."
			}
		}
	}
	return "Nothing was measured before the first change, so there is nothing to compare with."
}

// reasons lists why requests failed.
func reasons(k probe.KindResult) string {
	var list []string
	for _, r := range sortedKeys(k.Reasons) {
		list = append(list, fmt.Sprintf("%s (%d)", r, k.Reasons[r]))
	}
	return strings.Join(list, ", ")
}

// short is a fingerprint as one compares it by eye.
func short(fingerprint string) string {
	const digits = 12
	kind, sum, found := strings.Cut(fingerprint, ":")
	if !found || len(sum) <= digits {
		return fingerprint
	}
	return kind + ":" + sum[:digits] + "…"
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
