package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/inputfile"

	"github.com/goccy/go-yaml/ast"
	"github.com/xrash/smetrics"
)

// FieldError is one mistake in a spec file.
type FieldError struct {
	File    string
	Line    int    // from 1
	Field   string // "spec.etcd.hosts[1].address"; empty: the file as a whole
	Problem string // what is true now and what to write
	Blank   bool   // the field is there and has no value
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.Problem)
}

// decoder reads YAML nodes and collects all mistakes instead of ending at
// the first one.
type decoder struct {
	file     string // as the operator named it
	dir      string // what relative files are relative to
	home     string // what ~ is
	problems []*FieldError
}

// place is where a value stands.
type place struct {
	node ast.Node
	path string
}

func (p place) line() int {
	if p.node == nil || p.node.GetToken() == nil {
		return 1
	}
	return p.node.GetToken().Position.Line
}

// at is the place of a part of p: the node n under the name or [index].
func (p place) at(n ast.Node, part string) place {
	if p.path != "" && !strings.HasPrefix(part, "[") {
		part = "." + part
	}
	return place{n, p.path + part}
}

func (d *decoder) bad(p place, format string, args ...any) {
	d.problems = append(d.problems, &FieldError{File: d.file, Line: p.line(), Field: p.path, Problem: fmt.Sprintf(format, args...)})
}

// blank is bad for a field that is there without a value.
func (d *decoder) blank(p place, problem string) {
	d.problems = append(d.problems, &FieldError{File: d.file, Line: p.line(), Field: p.path, Problem: problem, Blank: true})
}

// field is a field that a mapping may have.
type field struct {
	name string
	// need is what to write when the field is missing; empty: it may be.
	need string
	read func(place)
}

// mapping reads the fields of a mapping in the order in which they are listed
// here, whatever their order in the file.
func (d *decoder) mapping(p place, fields ...field) {
	var values []*ast.MappingValueNode
	switch n := p.node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		is := kindOf(p.node)
		if scalar, ok := p.node.(ast.ScalarNode); ok && p.path == "" {
			// Another file than a spec was named, and it may hold a secret.
			is = fmt.Sprintf("text of %d bytes", len(scalar.GetToken().Value))
		}
		d.bad(p, "must be a mapping with the fields %s, and it is %s", strings.Join(namesOf(fields), ", "), is)
		return
	}
	if p.path == "" && !slices.ContainsFunc(values, func(v *ast.MappingValueNode) bool { return nearestField(v, fields) != "" }) {
		d.bad(p, "is no spec file: it has none of the fields %s", strings.Join(namesOf(fields), ", "))
		return
	}
	found := d.keys(p, values, fields)
	for _, f := range fields {
		v, there := found[f.name]
		at := p.at(v, f.name)
		switch {
		case !there && f.need != "":
			d.bad(place{p.node, at.path}, "is missing; %s", f.need)
		case !there:
		case isNull(v) && f.need != "":
			d.blank(at, "has no value; "+f.need)
		case isNull(v):
			d.blank(at, "has no value; write one or remove the line")
		default:
			f.read(at)
		}
	}
}

// keys returns the values by their key, and complains about keys that are
// unknown or there twice.
func (d *decoder) keys(p place, values []*ast.MappingValueNode, fields []field) map[string]ast.Node {
	found, lines := map[string]ast.Node{}, map[string]int{}
	for _, v := range values {
		name := v.Key.GetToken().Value
		at := p.at(v.Key, inputfile.Word(name))
		switch first, twice := lines[name]; {
		case twice:
			d.bad(at, "is there twice; the first one is in line %d", first)
		case !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }):
			d.bad(at, "unknown field%s", suggest(name, fields))
		default:
			found[name] = v.Value
		}
		lines[name] = at.line()
	}
	return found
}

// suggest names the nearest known field, or all of them.
func suggest(name string, fields []field) string {
	names := namesOf(fields)
	if best := nearest(name, names); best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; known here: " + strings.Join(names, ", ")
}

func namesOf(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// nearestField is the field that a line of a mapping probably means, or nothing.
func nearestField(v *ast.MappingValueNode, fields []field) string {
	return nearest(v.Key.GetToken().Value, namesOf(fields))
}

// nearest returns the known word that name is probably a misspelling of, or
// nothing.
func nearest(name string, known []string) string {
	best, distance := "", 1+max(1, min(3, (len(name)+1)/3))
	if len(name) > 64 {
		return "" // no word of ours; and the distance is quadratic
	}
	for _, k := range known {
		if n := smetrics.WagnerFischer(strings.ToLower(name), strings.ToLower(k), 1, 1, 1); n < distance {
			best, distance = k, n
		}
	}
	return best
}

// list calls item for each item of a list.
func (d *decoder) list(p place, item func(place)) {
	seq, ok := p.node.(*ast.SequenceNode)
	if !ok {
		d.bad(p, "must be a list, and it is %s", kindOf(p.node))
		return
	}
	for i, n := range seq.Values {
		at := p.at(n, fmt.Sprintf("[%d]", i))
		if isNull(n) {
			d.blank(at, "has no value; write one or remove the line")
			continue
		}
		item(at)
	}
}

// text reads a word. A number is taken as it is written.
func (d *decoder) text(p place) (string, bool) {
	var s string
	switch n := p.node.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		s = n.GetToken().Value
	default:
		d.bad(p, "must be text, and it is %s", kindOf(p.node))
		return "", false
	}
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		d.bad(p, "%s is empty, or has white space around it or control characters in it", inputfile.Quote(s))
		return "", false
	}
	return s, true
}

// number reads a whole number from low to high.
func (d *decoder) number(p place, low, high int) (int, bool) {
	n, ok := p.node.(*ast.IntegerNode)
	if !ok {
		d.bad(p, "must be a number from %d to %d, without quotes, and it is %s", low, high, kindOf(p.node))
		return 0, false
	}
	value, err := strconv.Atoi(n.GetToken().Value)
	if err != nil || value < low || value > high {
		d.bad(p, "%s is not a number from %d to %d", inputfile.Word(n.GetToken().Value), low, high)
		return 0, false
	}
	return value, true
}

// oneOf reads a word that must be one of known.
func (d *decoder) oneOf(p place, known ...string) (string, bool) {
	s, ok := d.text(p)
	if !ok || slices.Contains(known, s) {
		return s, ok
	}
	hint := ""
	if best := nearest(s, known); best != "" {
		hint = fmt.Sprintf("; did you mean %s?", best)
	}
	d.bad(p, "%s is not one of %s%s", inputfile.Quote(s), strings.Join(known, ", "), hint)
	return "", false
}

func isNull(n ast.Node) bool {
	if n == nil {
		return true
	}
	_, null := n.(*ast.NullNode)
	return null
}

// kindOf says what a node is, in an operator's words.
func kindOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return "the text " + inputfile.Quote(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return inputfile.Word(n.GetToken().Value)
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "an anchor, alias or tag of YAML, which is not read here: write the value itself"
	case *ast.NullNode, nil:
		return "empty"
	default:
		return "something else (" + n.Type().String() + ")"
	}
}
